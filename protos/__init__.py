"""The wire between the gateway and the agents: definitions, and the Python code generated beside them."""
