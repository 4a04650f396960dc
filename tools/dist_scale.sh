#!/usr/bin/env bash
# Grow a topology with several processes: one per GPU, or per CPU core.
#   tools/dist_scale.sh CONFIG PROCESSES [flags of tools/scale_topology.py]
# More machines: NNODES, NODE_RANK, MASTER_ADDR and PORT, as for torchrun.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$2" "$(dirname "$0")/scale_topology.py" "$1" --launcher pytorch "${@:3}"
