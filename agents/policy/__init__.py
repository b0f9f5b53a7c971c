"""The Beta policy, and the controller folder that holds a trained one."""
