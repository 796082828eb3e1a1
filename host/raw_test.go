package host_test

func serveRaw() {}
