"""The gateway: streams with agents over gRPC. The only room that knows protobuf.

Belongs here: TLS and who calls, the four services of `protos/`, translation between the wire and the
database's words, and what lives in memory only (who is connected, heartbeats, what was pushed last). A
gateway decides nothing: it inserts facts and pushes what the controller decided.
"""
