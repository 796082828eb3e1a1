#!/bin/sh
# Prices an order. In: {"cents":1200,"id":"o-1"}. Out: what the customer pays.
# Exit code 65 says that the order is invalid. An order called fail or hang does
# just that, to see what becomes of it. The id stays as JSON writes it.
set -eu
order=$(cat)
id=$(printf '%s' "$order" | sed -nE 's/.*"id":"(([^"\\]|\\.)*)".*/\1/p')
cents=$(printf '%s' "$order" | sed -nE 's/.*"cents":([^,}]*).*/\1/p')

invalid() { echo "$1" >&2; exit 65; }
[ -n "$id" ] || invalid "an order needs an id"
[ ${#id} -le 100 ] || invalid "the id of the order is longer than 100 characters"
[ ${#cents} -le 12 ] || invalid "the total of order $id is too large"
case $cents in
	'' | 0 | *[!0-9]*) invalid "the total of order $id is not a positive amount of whole cents" ;;
esac
case $id in
	fail) echo "the price list is missing" >&2; exit 1 ;;
	hang) sleep 600 ;;
esac
ID=$id CENTS=$cents awk 'BEGIN {
	cents = ENVIRON["CENTS"]
	t = int(cents * ENVIRON["TAX"] + 0.5)
	printf "{\"id\":\"%s\",\"net\":%.2f,\"tax\":%.2f,\"total\":%.2f}\n", ENVIRON["ID"], cents / 100, t / 100, (cents + t) / 100
}'
