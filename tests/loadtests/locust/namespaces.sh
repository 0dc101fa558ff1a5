#!/usr/bin/env bash
# Three workers with addresses of their own, a master and a server beside them, on one machine: a
# network namespace each, joined by a bridge. Run it within `unshare --net --mount`, as
#   namespaces.sh PYTHON FOLDER
# It leaves the records of a local run and of a distributed one under FOLDER, in local and far, and
# in server.json what the server did. Each run lasts until FOLDER/local.enough or FOLDER/far.enough
# is there.
set -euo pipefail
python=$1
folder=$2
here=10.77.0.1
workers=(1 2 3)

mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
ip link add bridge0 type bridge
ip address add "$here/24" dev bridge0
ip link set bridge0 up
for number in "${workers[@]}"; do
  ip netns add "worker$number"
  ip link add "veth$number" type veth peer name eth0 netns "worker$number"
  ip link set "veth$number" master bridge0 up
  ip -n "worker$number" address add "10.77.0.1$number/24" dev eth0
  ip -n "worker$number" link set eth0 up
done

"$python" -m benchmarks.calibration.known_server 0 --host "$here" --delay-seconds 0.02 \
  > "$folder/server.json" 2> "$folder/server.log" &
server=$!
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
until grep -q listening "$folder/server.log"; do sleep 0.05; done
port=$(grep -o '[0-9]*$' "$folder/server.log")

ours=tests/loadtests/locust
files=loadtests/locust/locustfile.py,$ours/enough.py,$ours/patience.py,$ours/enduring.py

locust() { # FOLDER OPTION…
  local to=$1
  shift
  ENOUGH="$folder/$to.enough" "$python" -m locust -f "$files" --headless \
    --host "ws://$here:$port" -u 120 -r 240 --swarm-flags '--duration 2s' \
    --swarm-record "$folder/$to" "$@" EchoSwarm BroadcastSwarm > "$folder/$to.log" 2>&1
}

locust local
for number in "${workers[@]}"; do
  ip netns exec "worker$number" "$python" -m locust -f "$files" --worker \
    --master-host "$here" > "$folder/far.worker$number.log" 2>&1 &
done
locust far --master --master-bind-host "$here" --expect-workers 3 --swarm-clock estimate
kill "$server"
wait "$server"
