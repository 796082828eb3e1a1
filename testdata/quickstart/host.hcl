# A webhook for orders: checked here, priced by a program, answered with its
# result, and noted in a file. A clock shows that nothing else is needed for it.

host {
  plugin_dir = "../../bin/plugins"
  state_dir  = "../../state/quickstart"
}

variable "tax" {
  type        = number
  default     = 0.19
  description = "Tax rate that price.sh adds."
}

plugin "http" "orders" {
  listen  = "tcp://127.0.0.1:8080"
  path    = "/orders"
  subject = "{{.id}}"
  timeout = "10s"
}

plugin "exec" "price" {
  command       = ["./price.sh"]
  env           = { TAX = var.tax }
  timeout       = "3s"
  invalid_codes = [65]
}

plugin "file" "ledger" {
  append = "orders.log"
}

plugin "cron" "clock" {
  every = "10s"
}

plugin "log" "out" {}

# The value of this route is the HTTP response.
route "price" {
  from = http.orders.request
  to   = exec.price.run
  input = {
    stdin = { id = try(tostring(event.data.id), ""), cents = try(event.data.total * 100, -1) }
  }
  delivery {
    timeout  = "5s"
    attempts = 1
  }
}

# This one does not keep the client waiting.
route "note" {
  from  = http.orders.request
  when  = try(event.data.total, 0) > 0
  to    = file.ledger.append
  input = "${event.time} ${try(tostring(event.data.id), "?")} ${event.data.total}"
  delivery {
    await = false
  }
}

test "an order is priced and noted" {
  given {
    event   = http.orders.request
    data    = { id = "o-1", total = 12 }
    replies = { price = { value = { cents = 1428 } } }
  }
  expect {
    routes = ["price", "note"]
    inputs = { price = { stdin = { id = "o-1", cents = 1200 } } }
    value  = { cents = 1428 }
  }
}

test "an order of nothing is not noted, and price.sh refuses it" {
  given {
    event   = http.orders.request
    data    = { id = "o-2", total = 0 }
    replies = { price = { error = "invalid_argument", message = "nothing to pay" } }
  }
  expect {
    routes   = ["price"]
    attempts = { price = 1 }
    error    = "invalid_argument"
  }
}

route "tick" {
  from = cron.clock.tick
  to   = log.out.write
}
