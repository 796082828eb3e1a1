#!/bin/sh
# Prices an order. In: {"id":"o-1","cents":1200}. Out: what the customer pays.
# Exit code 65 says that the order is invalid. An order called fail or hang does
# just that, to see what becomes of it.
set -eu
order=$(cat)
field() { printf '%s' "$order" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
id=$(field id)
cents=$(field cents)

[ -n "$id" ] || { echo "an order needs an id" >&2; exit 65; }
case $cents in
	'' | *[!0-9]*) echo "the total of order $id is not a positive amount" >&2; exit 65 ;;
esac
case $id in
	fail) echo "the price list is missing" >&2; exit 1 ;;
	hang) sleep 600 ;;
esac
awk -v id="$id" -v cents="$cents" -v tax="$TAX" 'BEGIN {
	t = int(cents * tax + 0.5)
	printf "{\"id\":\"%s\",\"net\":%.2f,\"tax\":%.2f,\"total\":%.2f}\n", id, cents / 100, t / 100, (cents + t) / 100
}'
