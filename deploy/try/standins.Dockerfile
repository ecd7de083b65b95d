# What stands in for the images of registries when deploy/try.sh runs without any: Debian's own packages, under the same paths.
ARG BASE=localhost/debian
FROM ${BASE} AS node
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null

FROM ${BASE} AS nginx
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light gettext-base wget >/dev/null \
 && rm -f /etc/nginx/sites-enabled/default /etc/nginx/conf.d/* \
 && install -d -o 101 -g 101 /var/cache/nginx /etc/nginx/conf.d /etc/nginx/templates
COPY deploy/try/nginx.conf /etc/nginx/nginx.conf
COPY deploy/try/nginx.sh /docker-entrypoint.sh
USER 101:101
ENTRYPOINT ["/docker-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]

FROM ${BASE} AS prometheus
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus >/dev/null && install -d -o 65534 /prometheus
USER 65534

FROM ${BASE} AS store
ARG MOTO
RUN python3 -m venv /opt/moto && /opt/moto/bin/pip install -qq "moto[server]==${MOTO}"
COPY deploy/try/store.sh /usr/local/bin/minio
COPY deploy/try/ready.sh /usr/local/bin/mc
ENTRYPOINT ["minio"]
