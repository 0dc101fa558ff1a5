#!/usr/bin/env bash
# Three workers with addresses of their own, a master and a server beside them, on one machine: a
# network namespace each, joined by a bridge. Run it within `unshare --net --mount`, as
#   namespaces.sh PYTHON FOLDER
# It leaves the records of one local run and of distributed ones under FOLDER.
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

"$python" -m benchmarks.known_server 0 --host "$here" --delay-seconds 0.02 2> "$folder/server.log" &
trap 'kill $(jobs -p)' EXIT
until grep -q listening "$folder/server.log"; do sleep 0.05; done
port=$(grep -o '[0-9]*$' "$folder/server.log")

locust() { # FOLDER OPTION…
  local to=$1
  shift
  "$python" -m locust -f loadtests/locustfile.py --headless -u 60 -r 120 -t 12s \
    --swarm-record "$folder/$to" --swarm-round 2s "$@" > "$folder/$to.log" 2>&1 || true
}

distributed() { # FOLDER OPTION…
  local to=$1 number
  for number in "${workers[@]}"; do
    ip netns exec "worker$number" "$python" -m locust -f loadtests/locustfile.py --worker \
      --master-host "$here" > "$folder/$to.worker$number.log" 2>&1 &
  done
  locust "$@" --master --master-bind-host "$here" --expect-workers 3 --swarm-clock estimate
}

echo_=(--host "ws://$here:$port/echo" --swarm-think "exp 100ms" EchoSwarm)
broadcast=(--host "ws://$here:$port/ws" --swarm-rate 10 BroadcastSwarm)
locust local-echo "${echo_[@]}"
distributed far-echo "${echo_[@]}"
locust local-broadcast "${broadcast[@]}"
distributed far-broadcast "${broadcast[@]}"
