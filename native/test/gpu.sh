#!/bin/sh
# Builds the CUDA library for the device of this machine, runs all tests and benchmarks on it, and prints a table last. Needs nvcc, a C++20 compiler and
# a shell: neither CMake nor Node, GoogleTest, OpenBLAS or a network. Ends within BUDGET seconds; what they do not suffice for is left out, and named.
#   native/test/gpu.sh              everything on the device; without one it says so and ends with 2
#   native/test/gpu.sh --build      only builds, for ARCH, which needs no device: for a run elsewhere with BUILT=yes and the same BUILD, which builds nothing
#   native/test/gpu.sh --emulate    the same tests and benchmarks on the processor, by the emulator: a test of this script, its times mean nothing
#   native/test/gpu.sh --racecheck  the tests on the emulator with ThreadSanitizer, which finds races between barriers whatever the order of threads
# BUILD names the folder to build in (default native/build-gpu), JOBS how many compilers run at once, ARCH the compute capability to build for (90),
# BUDGET the seconds for all of it (450, an hour when nothing but the processor computes).
# Of --emulate: ORDERS of threads between barriers (forward, backward, seeds), LIBRARY an emulated library that is built already.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$here/build-gpu}
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
cxx=${CXX:-c++}
emulate=no
racecheck=no
only_build=no
started=$(date +%s)
case "${1:-}" in
    "") ;;
    --build) only_build=yes ;;
    --emulate) emulate=yes ;;
    --racecheck) emulate=yes; racecheck=yes ;;
    *) echo "usage: gpu.sh [--build | --emulate | --racecheck]" >&2; exit 2 ;;
esac
if [ $emulate = yes ]; then budget=${BUDGET:-3600}; else budget=${BUDGET:-450}; fi

say() { printf '── %s\n' "$*"; }
give_up() { printf 'gpu.sh: %s\n' "$*" >&2; exit 2; }

kernels=$(sed -n 's/^set(CUDA_KERNELS \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
hopper=$(sed -n 's/^set(CUDA_HOPPER \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
driver=$(sed -n 's/^set(CUDA_DRIVER \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
host=$(sed -n 's/^set(CUDA_HOST \(.*\))$/\1/p' "$here/src/cuda/sources.cmake")
[ -n "$kernels" ] && [ -n "$host" ] && [ -n "$hopper" ] && [ -n "$driver" ] || give_up "src/cuda/sources.cmake does not name the kernels"
# What tests and benchmarks need of the core library.
core="base/memory_posix.cpp base/special.cpp base/thread_pool.cpp cpu/scalar.cpp integer/operands.cpp integer/plan.cpp integer/scalar.cpp measure/measure.cpp
    packed/packed_weight.cpp packed/safetensors_writer.cpp rotation/rpbh.cpp stats/marginal.cpp stats/sphere.cpp tensor/dtype.cpp tensor/file_posix.cpp tensor/tensor.cpp
    transform/hadamard.cpp transform/orthogonal.cpp transform/transform.cpp
    $(cd "$here/src" && ls device/*.cpp device/self_test/*.cpp graph/*.cpp linear/*.cpp quantizer/*.cpp | grep -v '^device/gptq.cpp$')"
tests="device_test.cpp device_attention_graph_test.cpp device_attention_test.cpp device_captures_test.cpp device_float_linear_test.cpp device_graph_test.cpp device_linear_test.cpp device_ops_test.cpp device_rotate_test.cpp
    device_slots_test.cpp device_solver_test.cpp device_statistics_test.cpp"

mkdir -p "$build" || exit 2
plan=$build/plan
: > "$plan"
common="-std=c++20 -I$here/src -I$here/test"

PATH=$PATH:/usr/local/cuda/bin
if [ $emulate = no ] && [ $only_build = no ]; then
    if ! command -v nvidia-smi > /dev/null || ! gpus=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>&1) || [ -z "$gpus" ]; then
        give_up "there is no GPU on this machine (nvidia-smi finds none). 'gpu.sh --emulate' runs the same tests on the processor."
    fi
    say "device: $gpus"
    # The benchmark opens cuBLAS where there is one: the toolkit's, or what Python packages of NVIDIA bring.
    toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
    for folder in "$toolkit"/lib64 "$toolkit"/lib $(python3 -c 'import glob, nvidia; print(*(each for path in nvidia.__path__ for each in glob.glob(path + "/*/lib")))' 2> /dev/null); do
        LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    done
    export LD_LIBRARY_PATH
    ARCH=${ARCH:-$(printf '%s\n' "$gpus" | head -n 1 | awk -F', *' '{ gsub(/\./, "", $2); print $2 }')}
fi
if [ $emulate = no ]; then
    arch=${ARCH:-90}
    command -v nvcc > /dev/null || [ -n "${BUILT:-}" ] || give_up "nvcc is not there; install the CUDA toolkit or put it on the PATH"
    say "nvcc $(nvcc --version 2> /dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p'), sm_$arch, $jobs jobs"
    for file in $host $kernels $driver; do
        echo "nvcc $common -O3 --fmad=false -lineinfo -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off -gencode arch=compute_$arch,code=[sm_$arch,compute_$arch] -c $here/src/cuda/$file -o $build/$(echo "$file" | tr / .).o" >> "$plan"
    done
    for file in $hopper; do
        echo "sh $here/src/cuda/unserialized.sh nvcc $common -O3 --fmad=false -lineinfo -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off -gencode arch=compute_90a,code=sm_90a -c $here/src/cuda/$file -o $build/$(echo "$file" | tr / .).o" >> "$plan"
    done
    library=$build/libquantscope_cuda.so
else
    say "emulated: no device is used"
    emulation="$common -I$here/test/cuda_emulator -DQUANTSCOPE_CUDA_EMULATION -Wno-unknown-pragmas -Wno-psabi -O1 -fPIC -fvisibility=hidden -ffp-contract=off"
    # Kernels alone are watched: the emulator says itself what orders their threads.
    if [ $racecheck = yes ]; then emulation="$emulation -g1 -DQUANTSCOPE_RACECHECK"; watched=-fsanitize=thread; else watched=; fi
    library=${LIBRARY:-$build/libquantscope_cuda_emulated.so}
    [ -z "${LIBRARY:-}" ] && for file in $host $kernels $hopper; do
        echo "$cxx $emulation $watched -x c++ -c $here/src/cuda/$file -o $build/$(echo "$file" | tr / .).emulated.o" >> "$plan"
    done
    [ -z "${LIBRARY:-}" ] && for file in block fiber hopper runtime; do
        echo "$cxx $emulation -c $here/test/cuda_emulator/$file.cpp -o $build/$file.emulated.o" >> "$plan"
    done
    QUANTSCOPE_EMULATED_MEMORY=268435456
    export QUANTSCOPE_EMULATED_MEMORY
fi
# Without a device nobody waits for the speed of what is built.
if [ $emulate = no ]; then optimize=-O2; else optimize=-O1; fi
for file in $core; do
    echo "$cxx $common -I$here/test/standalone $optimize -ffp-contract=off -c $here/src/$file -o $build/core.$(echo "$file" | tr / .).o" >> "$plan"
done
for file in $tests standalone/levels.cpp standalone/main.cpp; do
    echo "$cxx $common -I$here/test/standalone -O1 -ffp-contract=off -c $here/test/$file -o $build/test.$(echo "$file" | tr / .).o" >> "$plan"
done
echo "$cxx $common -O1 -c $here/bench/device_bench.cpp -o $build/bench.device.o" >> "$plan"

build_all() {
say "building"
rm -f "$build"/*.o
xargs -P "$jobs" -I '{}' sh -c '{} || { echo "failed: {}" >&2; exit 255; }' < "$plan" || give_up "the build failed"
if [ $emulate = no ]; then
    nvcc -shared -cudart static $(for file in $host $kernels $driver $hopper; do echo "$build/$(echo "$file" | tr / .).o"; done) -o "$library" || give_up "linking the library failed"
elif [ -z "${LIBRARY:-}" ]; then
    $cxx -shared "$build"/*.emulated.o -o "$library" -lpthread || give_up "linking the library failed"  # of ThreadSanitizer the program has one
fi
$cxx "$build"/core.*.o "$build"/test.*.o ${watched:-} -o "$build/tests" -ldl -lpthread || give_up "linking the tests failed"
$cxx "$build"/core.*.o "$build"/test.standalone.levels.cpp.o "$build"/bench.*.o -o "$build/bench" -ldl -lpthread || give_up "linking the benchmark failed"
}
[ -n "${BUILT:-}" ] || build_all
[ $only_build = no ] || exit 0
built=$(date +%s)

QUANTSCOPE_CUDA_LIBRARY=$library
export QUANTSCOPE_CUDA_LIBRARY
table=$build/table
: > "$table"
status=0
# row NAME STATUS TEXT
row() {
    printf '%-24s %-7s %s\n' "$1" "$2" "$3" >> "$table"
    [ "$2" = ok ] || [ "$2" = "-" ] || status=1
}
left() { echo $((started + budget - $(date +%s))); }
# limited SECONDS COMMAND…: 124 where that or the budget does not suffice. What hangs shall not take the rest with it.
limited() {
    seconds=$1
    shift
    [ "$(left)" -lt "$seconds" ] && seconds=$(left)
    [ "$seconds" -lt 5 ] && return 124
    timeout -k 5 "$seconds" "$@"
}
last() { tail -n 1 "$1"; }

# tested LOG ARGUMENTS…: the tests, into the log. On a device each suite by itself, and where one fails each of its tests: a kernel that hangs or faults leaves
# nothing usable to the others of its process.
tested() {
    log=$1
    shift
    if [ $emulate = yes ]; then
        limited $patience "$build/tests" "$@" > "$log" 2>&1
        return
    fi
    "$build/tests" --list "$@" > "$build/names"
    : > "$log"
    for suite in $(sed 's/\..*//' "$build/names" | sort -u); do
        names=$(sed -n "s/^$suite\./=&/p" "$build/names")
        if limited 40 "$build/tests" $names > "$build/suite.log" 2>&1; then
            sed '$d' "$build/suite.log" >> "$log"
            continue
        fi
        for name in $names; do
            if limited 10 "$build/tests" "$name" > "$build/suite.log" 2>&1; then sed '$d' "$build/suite.log" >> "$log"; else
                grep -v "passed, \|^FAILED" "$build/suite.log" >> "$log"
                echo "FAILED ${name#=}" >> "$log"
            fi
        done
    done
    failed=$(grep -c '^FAILED' "$log")
    echo "$(grep -c '^ok' "$log") passed, $failed failed" >> "$log"
    [ "$failed" = 0 ]
}
# measured LOG: all benchmarks, and where they do not come to their end each group of them.
measured() {
    limited 150 "$build/bench" > "$1" 2>&1 && return
    [ $emulate = no ] || return
    for group in rotate "weight diagnostics" ops " -> " "second moments" attention forward; do
        limited 40 "$build/bench" "$group" >> "$1" 2>&1 || echo "the benchmarks of \"$group\" did not come to their end" >> "$1"
    done
    return 1
}

row "build" ok "$((built - started)) s"
patience=120
if [ $racecheck = yes ]; then orders=forward; patience=600; elif [ $emulate = yes ]; then orders=${ORDERS:-forward backward 7}; else orders=device; fi
for order in $orders; do
    say "tests ($order)"
    if QUANTSCOPE_EMULATED_ORDER=$order tested "$build/tests.log"; then result=ok; else result=FAILED; fi
    [ $result = ok ] || grep -v '^ok' "$build/tests.log"
    row "tests, $order" $result "$(last "$build/tests.log")"
done

# Kernels of every device, where the device has its own; on others the same once more.
if [ $racecheck = no ]; then
    if QUANTSCOPE_CUDA_KERNELS=portable tested "$build/portable.log" Linear Attention; then result=ok; else result=FAILED; fi
    [ $result = ok ] || grep -v '^ok' "$build/portable.log"
    row "tests, portable" $result "$(last "$build/portable.log")"
fi

if [ $racecheck = yes ]; then
    printf '\n'
    cat "$table"
    exit $status
fi
say "benchmarks"
if measured "$build/bench.log"; then result=ok; else result=FAILED; fi
[ $result = ok ] || grep -v '^BENCH' "$build/bench.log"
row "benchmarks" $result "$(grep -c '^BENCH' "$build/bench.log") lines"

# What kernels of one generation alone gain, at two shapes.
QUANTSCOPE_CUDA_KERNELS=portable limited 40 "$build/bench" "4096 x 3072 -> 12288" "attention, FLUX" 2> /dev/null | sed -n '/device:\|^BENCH copy/d; s/^BENCH /portable: /p' > "$build/portable-bench.log"

# The same forward in PyTorch, where this machine has it. Without a device a tiny one, which says no more than that the program runs.
if limited 60 "${PYTHON:-python3}" "$here/bench/device_forward.py" $([ $emulate = yes ] && echo --check) > "$build/torch.log" 2>&1; then
    theirs=$(sed -n 's/^torch .*: \([0-9.]*\) ms$/\1/p' "$build/torch.log")
    ours=$(sed -n 's/^BENCH forward.*, BF16, .* \([0-9.]*\) ms .*/\1/p' "$build/bench.log")
    row "forward, PyTorch" ok "$(last "$build/torch.log"), ours in bfloat16 ${ours:-?} ms: $(awk "BEGIN { if (${ours:-0} > 0) printf \"%.2f x\", ${theirs:-0} / ${ours:-1} }") its speed"
else
    row "forward, PyTorch" "-" "$(last "$build/torch.log")"
fi

# Last, since they are many times slower: what time is left decides how far they get. Tests that fill the device's memory are not for them, and calls that
# are refused on purpose no finding. initcheck is left out: padding behind the end of rows is read on purpose, and masked.
checked="Device.MemoryComes DeviceAttention. DeviceOps. DeviceRotate. DeviceSolver. DeviceStatistics. Linear. Linears. DeviceGraph.ABlock DeviceGraph.RunsEveryKind"
if [ $emulate = no ]; then
    for tool in memcheck racecheck synccheck; do
        sanitizer=$(command -v compute-sanitizer) || { row "$tool" "-" "compute-sanitizer is not installed"; continue; }
        say "$tool"
        limited 120 "$sanitizer" --tool $tool --report-api-errors no --error-exitcode 9 "$build/tests" $checked > "$build/$tool.log" 2>&1
        result=$?
        text=$(grep 'SUMMARY' "$build/$tool.log" | tail -n 1 | sed 's/^=* *//')
        if grep -q 'Device not supported' "$build/$tool.log"; then
            row "$tool" "-" "compute-sanitizer does not support this machine's device"
        elif [ $result = 0 ]; then
            row "$tool" ok "$text"
        elif { [ $result = 124 ] || [ $result = 137 ]; } && ! grep -q '^FAILED\|=== *\(Invalid\|Error\|Race\|Barrier\)' "$build/$tool.log"; then
            row "$tool" "-" "no finding in $(grep -c '^ok' "$build/$tool.log") tests, then the time was over"
        else
            grep '^FAILED' "$build/$tool.log"
            tail -n 40 "$build/$tool.log"
            row "$tool" FAILED "$text"
        fi
    done
fi
row "all" "$([ $status = 0 ] && echo ok || echo FAILED)" "$(($(date +%s) - started)) s"

printf '\n'
sed -n 's/^BENCH //p' "$build/bench.log"
cat "$build/portable-bench.log"
printf '\n'
cat "$table"
exit $status
