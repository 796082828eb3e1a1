package host_test

func serveWork() {}
