#!/usr/bin/env bash
# Train under Slurm: one torchrun per node, one process per GPU.
#   PARTITION=gpu NODES=4 GPUS_PER_NODE=8 tools/slurm_train.sh CONFIG [flags of tools/train.py]
# Further options for srun go into SRUN_ARGS.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# *//p' "$0" >&2; exit 2; }
gpus=${GPUS_PER_NODE:-8}
# shellcheck disable=SC2086  # SRUN_ARGS is a list of words
exec srun --partition="${PARTITION:?name the Slurm partition in PARTITION}" \
  --nodes="${NODES:-1}" --ntasks-per-node=1 --gres="gpu:$gpus" \
  --cpus-per-task="${CPUS_PER_TASK:-$((gpus * 5))}" ${SRUN_ARGS:-} \
  bash -c 'exec torchrun --nnodes="$SLURM_NNODES" --nproc_per_node="$0" \
    --rdzv_backend=c10d --rdzv_id="$SLURM_JOB_ID" \
    --rdzv_endpoint="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):${PORT:-29500}" \
    "$@"' "$gpus" "$(dirname "$0")/train.py" "$@" --launcher pytorch
