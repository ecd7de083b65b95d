#!/bin/sh
# moto in place of the object store: it takes the same credentials and the conditions of a PUT, and keeps objects in memory.
exec /opt/moto/bin/moto_server --host 0.0.0.0 --port 9000
