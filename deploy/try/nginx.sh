#!/bin/sh
# What the entry point of the official image does: resolvers, then templates with the variables of NGINX_ENVSUBST_FILTER.
[ -z "$NGINX_ENTRYPOINT_LOCAL_RESOLVERS" ] || NGINX_LOCAL_RESOLVERS=$(awk '/^nameserver/ {print $2}' /etc/resolv.conf | tr '\n' ' ')
export NGINX_LOCAL_RESOLVERS
names=$(env | cut -d= -f1 | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/' | tr '\n' ' ')
for template in /etc/nginx/templates/*.template; do
  envsubst "$names" <"$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
done
exec "$@"
