"""The file that `spark-submit` starts. Its folder has no other scripts, as Python puts it on the module path."""

from diurnal.pipeline.spark_driver import main

if __name__ == "__main__":
    main()
