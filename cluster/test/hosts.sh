#!/usr/bin/env bash
# Runs a command on a cluster of its own: hosts n1, n2, … on this one machine, each with its own name, network, processes,
# /dev/shm and $TMPDIR, joined by a switch of 10.77.0.0/24 that nothing outside can reach. All of it ends with the command.
#
#   cluster/test/hosts.sh COUNT COMMAND [ARGUMENT...]
#
# The command runs beside the hosts, at 10.77.0.1. It finds in BIPFT_HOSTS a folder for its files (removed at the end) with
#   on HOST COMMAND...   runs a command on a host, as ssh would (and stands for ssh in mpirun: plm_rsh_agent); not from a host
#   off HOST             takes a host away at once, with everything that runs on it
# and one end of each host's cable as network link cable-HOST. Needs root. Exits with 77 where the system does not allow
# such hosts, else as the command does.
set -euo pipefail
script=$(realpath "${BASH_SOURCE[0]}")
PATH=$PATH:/usr/sbin:/sbin
namespaces=(--net --pid --mount --uts --ipc --fork --kill-child --mount-proc)

# The first process of a host; it outlives nothing and reaps what its dead leave behind.
be_a_host() { # NAME FOLDER
  hostname "$1"
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
  mount -t tmpfs -o mode=1777 tmpfs "$2/tmp"
  ip link set lo up
  touch "$2/hosts/$1.up"
  while :; do
    sleep 3600 &
    wait $!
  done
}

add_host() { # NUMBER FOLDER
  local name=n$1 folder=$2 process
  unshare "${namespaces[@]}" "$script" --host "$name" "$folder" 2>"$folder/hosts/$name.errors" &
  process=$!
  until [ -e "$folder/hosts/$name.up" ]; do
    if ! kill -0 "$process" 2>/dev/null; then
      cat "$folder/hosts/$name.errors" >&2
      return 1
    fi
    sleep 0.05
  done
  # The host's first process, seen from outside.
  tr -d ' ' <"/proc/$process/task/$process/children" >"$folder/hosts/$name"
  ip link add "cable-$name" type veth peer name eth0 netns "$process"
  ip link set "cable-$name" master switch up
  "$folder/on" "$name" "ip address add 10.77.0.$((10 + $1))/24 dev eth0 && ip link set eth0 up"
}

be_the_cluster() { # FOLDER COUNT COMMAND...
  local folder=$1 count=$2 number
  shift 2
  hostname control
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
  mkdir -m 1777 "$folder/tmp"
  mkdir "$folder/hosts"
  export BIPFT_HOSTS=$folder TMPDIR=$folder/tmp
  {
    echo "127.0.0.1 localhost"
    echo "10.77.0.1 control"
    for ((number = 1; number <= count; number++)); do echo "10.77.0.$((10 + number)) n$number"; done
  } >"$folder/hosts.txt"
  mount --bind "$folder/hosts.txt" /etc/hosts
  cat >"$folder/on" <<EOF
#!/usr/bin/env bash
host=\$1
shift
if ! process=\$(cat "$folder/hosts/\$host" 2>/dev/null) || ! kill -0 "\$process" 2>/dev/null; then
  echo "on: no route to host \$host" >&2
  exit 255
fi
exec nsenter -t "\$process" -n -u -m -i -p -- /bin/sh -c "cd '\$PWD' && \$*"
EOF
  cat >"$folder/off" <<EOF
#!/usr/bin/env bash
kill -9 "\$(cat "$folder/hosts/\$1")"
rm "$folder/hosts/\$1"
EOF
  chmod 755 "$folder/on" "$folder/off"
  ip link set lo up
  ip link add switch type bridge
  ip address add 10.77.0.1/24 dev switch
  ip link set switch up
  for ((number = 1; number <= count; number++)); do add_host "$number" "$folder"; done
  # Not exec: the first process of these namespaces must be one that reaps.
  "$@"
}

case "${1:-}" in
--host) be_a_host "$2" "$3" ;;
--inside)
  shift
  code=0
  be_the_cluster "$@" || code=$?
  exit "$code"
  ;;
*)
  if [ $# -lt 2 ]; then
    echo "usage: cluster/test/hosts.sh COUNT COMMAND [ARGUMENT...]" >&2
    exit 2
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "hosts of its own need root" >&2
    exit 77
  fi
  if ! command -v ip >/dev/null; then
    echo "the program ip is missing (package iproute2)" >&2
    exit 77
  fi
  if ! unshare "${namespaces[@]}" sh -c 'mount -t tmpfs tmpfs /dev/shm && ip link add switch type bridge' 2>/dev/null; then
    echo "this system does not let root make hosts of its own (namespaces, a bridge)" >&2
    exit 77
  fi
  # A short path: names of sockets below it have a limit.
  folder=$(mktemp -d /tmp/bipft-XXXXXX)
  chmod 711 "$folder"
  trap 'rm -rf "$folder"' EXIT
  unshare "${namespaces[@]}" "$script" --inside "$folder" "$@" <&0 &
  cluster=$!
  trap 'kill -9 "$cluster" 2>/dev/null || true; wait "$cluster" 2>/dev/null || true; exit 143' INT TERM HUP
  code=0
  wait "$cluster" || code=$?
  exit "$code"
  ;;
esac
