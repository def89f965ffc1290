"""What `spark-submit` is given; it is in a folder of its own, as Python puts the folder of a script on its path."""

from diurnal.pipeline.spark_driver import main

if __name__ == "__main__":
    main()
