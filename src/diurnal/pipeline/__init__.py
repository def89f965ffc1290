"""The run of a data interval: the order of its steps, the steps, and what is done beside them."""
