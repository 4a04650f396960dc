#!/usr/bin/env bash
# Evaluate on several GPUs of one or more machines, or on several CPU processes.
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
# More machines: NNODES, NODE_RANK, MASTER_ADDR and PORT, as for torchrun.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$3" "$(dirname "$0")/test.py" "$1" "$2" --launcher pytorch "${@:4}"
