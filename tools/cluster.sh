#!/usr/bin/env bash
# Runs a cluster of three on this machine until ctrl-C: clients on 7379 to 7381,
# Sentinel on 26379 to 26381, data in ./redlockd-data/cluster. Further flags go
# to all three: tools/cluster.sh --session-timeout 5s
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${REDLOCKD:-bin/redlockd}
data=${DATA:-redlockd-data/cluster}
pids=()
# Each node gets its own signal, and is given the time to hand over and to stop.
stop() {
	trap '' INT TERM
	((${#pids[@]})) && kill -TERM "${pids[@]}" 2>/dev/null || true
	wait || true
}
trap 'stop; exit 0' INT TERM
all=n1=127.0.0.1:17379,n2=127.0.0.1:17380,n3=127.0.0.1:17381
for i in 1 2 3; do
	port=$((7378 + i))
	# In a session of its own, so that ctrl-C reaches it through us alone; its log
	# has its name in front.
	setsid "$bin" --node-id "n$i" --listen "127.0.0.1:$port" --peer-listen "127.0.0.1:1$port" --sentinel-listen "127.0.0.1:$((26378 + i))" \
		--data-dir "$data/n$i" --initial-cluster "$all" "$@" 2> >(sed -u "s/^/n$i  /" >&2) &
	pids+=($!)
done
echo "three nodes: redis-cli -p 7379 (7380, 7381), redlockd status; ctrl-C stops them" >&2
# A node that ends by itself ends the others: something is wrong then.
wait -n && code=0 || code=$?
echo "a node has ended with exit code $code; the others are stopped" >&2
stop
exit "$code"
