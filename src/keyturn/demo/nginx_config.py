"""The configuration of one gateway node."""

import grp
import os
import pwd

HEALTH = "/-/health"

CONFIG = """\
daemon off;
{user}worker_processes 1;
# After a reload, an old worker and its old key table are gone within this time.
worker_shutdown_timeout {shutdown_ms}ms;
pid nginx.pid;
# Not `info`: at that level nginx quotes a header line that it could not parse.
error_log error.log notice;

events {{
  worker_connections 1024;
}}

http {{
  client_body_temp_path body_temp;
  proxy_temp_path proxy_temp;
  default_type application/json;

  # Room for 10,000 keys of up to about 230 characters.
  map_hash_max_size 65536;
  map_hash_bucket_size 256;

  # The key table, owned by keyturn: "<key>" "<kid>:<active|disabled|revoked>";
  map $http_x_api_key $key_entry {{
    default "";
    include keys.map;
  }}
  # The public part of what was presented names a key that the table does not know.
  map $http_x_api_key $presented_kid {{
    default "";
    "~^kt_[a-z0-9]+_(?<kid>[A-Za-z0-9]+)_[A-Za-z0-9]+_[A-Za-z0-9]+$" $kid;
  }}
  map $key_entry $accepted {{
    default 0;
    "~:active$" 1;
  }}

  # nginx has ISO 8601 without milliseconds and milliseconds without ISO 8601.
  map $msec $log_millis {{
    "~\\.(?<millis>[0-9]+)$" $millis;
  }}
  map $time_iso8601 $log_second {{
    "~^(?<second>[^+]+)[+-][0-9:]+$" $second;
  }}
  map $time_iso8601 $log_zone {{
    "~(?<zone>[+-][0-9]+:[0-9]+)$" $zone;
  }}

  # Never the header itself. Unbuffered: a line is there as soon as its request is done.
  log_format usage escape=json '{{"time":"$log_second.$log_millis$log_zone","epoch":$msec,'
    '"node":"{name}","remote_addr":"$remote_addr","kid":"$presented_kid",'
    '"matched":"$key_entry","status":$status,"probe":"$http_x_keyturn_probe",'
    '"request_time":$request_time,"connection":$connection,"worker":$pid}}';
  access_log access.log usage;

  keepalive_timeout 75s;
  keepalive_requests 100000;
  # Without it a reload drops idle connections at once, in the face of a request on its way.
  keepalive_min_timeout {keepalive_ms}ms;

  upstream app {{
    server {host}:{upstream_port};
    keepalive 16;
  }}

  server {{
    listen {host}:{port} backlog=512;

    location = {health} {{
      access_log off;
      return 204;
    }}

    location / {{
      if ($accepted = 0) {{
        return 401 '{{"error": "key not accepted"}}\\n';
      }}
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # The application has no need to see the key.
      proxy_set_header X-Api-Key "";
      proxy_connect_timeout 5s;
      proxy_read_timeout 10s;
    }}
  }}
}}
"""


def nginx_config(*, name: str, host: str, port: int, upstream_port: int, keepalive_min: float) -> str:
    """The text of a node's nginx.conf; its relative paths are within the node's folder.

    For `keepalive_min` seconds after a reload, connections from before it are still served by the old key table.
    """
    return CONFIG.format(
        user=_user_line(),
        name=name,
        host=host,
        port=port,
        upstream_port=upstream_port,
        health=HEALTH,
        keepalive_ms=round(keepalive_min * 1000),
        shutdown_ms=round(keepalive_min * 1000) + 1000,
    )


def _user_line() -> str:
    # As root, nginx would hand its workers to `nobody`, who may not enter a private folder.
    if os.geteuid() != 0:
        return ""
    user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    return f"user {user} {group};\n"
