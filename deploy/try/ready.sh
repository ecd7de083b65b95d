#!/bin/sh
exec python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9000/moto-api/', timeout=4)"
