"""Kernels that this processor cannot run, under emulation, give the committed bits of Tests/GoldenKernels/golden.txt.

Plain C and NEON run in an emulator of ARM; those that use VDPBF16PS with that one instruction replaced, where there is AVX-512.

Skipped where a tool is missing. Debian's packages: gcc-aarch64-linux-gnu and libc6-dev-arm64-cross (libraries and linker),
qemu-user (emulation); clang comes with Swift, and is the compiler that Swift itself uses for the kernels.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import support

KERNELS = os.path.join(support.ROOT, "Sources/CKernels")
CASES = os.path.join(support.ROOT, "Tests/GoldenKernels")
PROGRAM = os.path.join(support.ROOT, "Tests/CrossKernels/main.c")
TARGET = "aarch64-linux-gnu"

# The oldest of the processors that must do, and one with everything that the emulator knows.
RUNS = [("cortex-a57", ["plain", "neon"]), ("max", ["neon"])]

# As ck_functions.h and ck_survey.h number them.
FUNCTIONS = {"CK_GELU_NEW": 1, "CK_GELU": 2, "CK_RELU": 3, "CK_SILU": 4, "CK_QUICK_GELU": 5, "CK_TANH": 6, "CK_EXP": 7, "CK_LOG": 8,
             "CK_LOG1P": 9, "CK_ERF": 10}  # fmt: skip
DERIVATIVE = 64


def clang():
    """The compiler of the Swift in PATH, else one of its own in PATH; None where there is neither."""
    if shutil.which("swift"):
        said = subprocess.run(["swift", "-print-target-info"], capture_output=True, text=True)
        if said.returncode == 0:
            resources = json.loads(said.stdout)["paths"]["runtimeResourcePath"]
            path = os.path.normpath(os.path.join(resources, "../../bin/clang"))
            if os.path.exists(path):
                return path
    return shutil.which("clang")


def emulator():
    return shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


def missing():
    """What keeps these tests from running, with the Debian packages that mend it; empty where nothing does."""
    reasons = []
    if not clang():
        reasons.append("no clang (it comes with Swift)")
    if not shutil.which(f"{TARGET}-gcc") or not os.path.exists(f"/usr/{TARGET}/include/stdio.h"):
        reasons.append("no libraries for ARM (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)")
    if not emulator():
        reasons.append("no emulator (qemu-user)")
    return "; ".join(reasons)


def committed():
    """The hashes of the first heading, by name."""
    hashes, headings = {}, 0
    with open(os.path.join(CASES, "golden.txt")) as file:
        for line in file:
            headings += line.startswith("[")
            if headings == 1 and line[16:17] == " ":
                hashes[line[17:].rstrip("\n")] = line[:16]
    return hashes


def surveys():
    """Name, number and committed sum of every function that is looked at over all floats."""
    with open(os.path.join(support.ROOT, "Sources/Kernels/FunctionSurvey.swift")) as file:
        found = re.findall(r'FunctionSurvey\("(.+)", Int\((CK_\w+)\), (0x[0-9a-f_]+)(, isDerivative: true)?\)', file.read())
    return [(name, FUNCTIONS[code] + (DERIVATIVE if derived else 0), int(digits.replace("_", ""), 16)) for name, code, digits, derived in found]


def build(program, *options):
    """As SwiftPM compiles the kernels in release mode: no flag changes the arithmetic. A warning is a failure."""
    subprocess.run(
        [
            clang(), "-std=gnu11", "-O2", "-Wall", "-Wno-psabi", "-Werror", "-pthread", *options,
            "-I", os.path.join(KERNELS, "include"), "-I", os.path.join(CASES, "include"),
            *sorted(glob.glob(os.path.join(KERNELS, "*.c"))), *sorted(glob.glob(os.path.join(CASES, "*.c"))), PROGRAM, "-lm", "-o", program,
        ],
        check=True,
    )  # fmt: skip


def has_avx512():
    with open("/proc/cpuinfo") as file:
        flags = next((line.split(":")[1].split() for line in file if line.startswith("flags")), [])
    return {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)


@unittest.skipUnless(clang(), "no clang (it comes with Swift)")
@unittest.skipUnless(has_avx512(), "no AVX-512")
class EmulatedInstruction(unittest.TestCase):
    """Few processors have VDPBF16PS, and all that do must give what the others give."""

    def test_kernels_with_vdpbf16ps_have_the_committed_bits(self):
        with tempfile.TemporaryDirectory(prefix="scriptorium-cross-") as folder:
            program = os.path.join(folder, "golden")
            build(program, "-include", os.path.join(os.path.dirname(PROGRAM), "bfloat16_instruction.h"))
            done = subprocess.run([program, "avx512"], capture_output=True, text=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)
        found = [line.split("\t") for line in done.stdout.splitlines()]
        wanted = committed()
        self.assertEqual({name for _, name, _ in found}, set(wanted))
        for _, name, digits in found:
            self.assertEqual(digits, wanted[name], name)
        # With the instruction there are two variants of these, without it one.
        self.assertEqual([name for _, name, _ in found].count("bfloat16 products"), 2)


@unittest.skipIf(missing(), missing())
class CrossKernels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="scriptorium-cross-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.program = os.path.join(cls.folder.name, "golden")
        build(cls.program, f"--target={TARGET}", "-static")

    def test_every_case_has_the_committed_bits(self):
        wanted = committed()
        self.assertGreater(len(wanted), 70)
        for processor, sets in RUNS:
            with self.subTest(processor=processor):
                done = subprocess.run([emulator(), "-cpu", processor, self.program, *sets], capture_output=True, text=True, timeout=1200)
                self.assertEqual(done.returncode, 0, done.stderr)
                found = {name: {} for name in sets}
                for line in done.stdout.splitlines():
                    instruction_set, name, digits = line.split("\t")
                    found[instruction_set][name] = digits
                for name in sets:
                    self.assertEqual(found[name], wanted, name)

    @unittest.skipUnless(os.environ.get("ALL_FLOATS"), "hours: ALL_FLOATS=1 looks at NEON's functions over all 2^32 floats")
    def test_every_function_has_the_committed_bits_over_all_floats(self):
        self.assertEqual(len(surveys()), 16)
        for name, number, wanted in surveys():
            with self.subTest(function=name):
                found = 0
                for piece in range(16):
                    command = [emulator(), self.program, "survey", "neon", str(number), str(piece)]
                    found += int(subprocess.run(command, check=True, capture_output=True, text=True).stdout, 16)
                self.assertEqual(f"{found % 2**64:016x}", f"{wanted:016x}")

    def test_a_set_of_another_processor_is_refused(self):
        done = subprocess.run([emulator(), self.program, "avx2"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (2, "this processor has no avx2\n"))


if __name__ == "__main__":
    unittest.main()
