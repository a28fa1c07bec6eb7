"""`python -m xlir_bench` is `xlir-bench`."""

from xlir_bench.cli import main

if __name__ == "__main__":
    main()
