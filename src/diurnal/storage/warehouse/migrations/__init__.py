"""The migrations of the warehouse, run by themselves when its version is not the newest one."""
