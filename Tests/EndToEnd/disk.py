"""A file system of the tests' own that is full when they say so. Needs root."""

import contextlib
import os
import subprocess


class SmallDisk:
    """A tmpfs on a folder, which it makes: at most `size` bytes, or as few as stand there. ``remove`` takes it away."""

    def __init__(self, folder, size=1 << 30):
        self.folder, self.size = folder, size
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)

    @classmethod
    def attempt(cls, folder, size=1 << 30):
        """The disk, or None and why there is none."""
        try:
            return cls(folder, size), None
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            reason = error.stderr.decode(errors="replace").strip() if isinstance(error, subprocess.CalledProcessError) else error
            return None, f"no file system can be mounted here: {reason}"

    def fill(self):
        """No byte more can be written, until ``free``. Files that grow meanwhile are in the way, so it is tried again."""
        for _ in range(100):
            state = os.statvfs(self.folder)
            used = (state.f_blocks - state.f_bfree) * state.f_frsize
            with contextlib.suppress(subprocess.CalledProcessError):
                return self._resize(max(used, state.f_frsize))
        raise AssertionError(f"{self.folder} could not be filled")

    def free(self):
        self._resize(self.size)

    def _resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True, capture_output=True)

    def remove(self):
        subprocess.run(["umount", "-l", self.folder], check=False, capture_output=True)
