"""Runs every model: exits 0 when all hold with their rules and break without them. `-v` prints the traces."""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
MODELS = ("metalog", "blocklog", "drain", "objectlog", "handover")

if __name__ == "__main__":
    bad = [m for m in MODELS if subprocess.run([sys.executable, str(HERE / f"{m}.py"), *sys.argv[1:]]).returncode]
    if bad:
        sys.exit(f"these models do not behave as they say: {', '.join(bad)}")
