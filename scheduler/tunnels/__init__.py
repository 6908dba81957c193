"""The one line on which the control plane's processes call each other: from the API to a node's gateway.

A tunnel carries one connection or one terminal of a researcher. The gateway listens with TLS under the
installation's own certificate; the API proves itself with the installation's tunnel secret, inside that TLS.
"""
