"""The figures that modabatchd is to reach, each as a ratio to a named peer in the same run.  C{README.md} explains them."""
