"""Far ends that judge credentials with independent implementations. Prints its ports, serves until its input ends.

Every path begins with what judges: /sigv4/SERVICE, /oauth1, /jwt/ALGORITHM, /hmac, /session, /saml. All else is
httpbin's, whose digest and basic are used. The answer is 200, or 401 with the reason."""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import jwt
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from httpbin import app as httpbin
from lxml import etree
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint
from signxml import XMLVerifier
from werkzeug.serving import make_server

SETTINGS = json.loads(sys.argv[1])
AWS = SETTINGS["aws"]
OAUTH1 = SETTINGS["oauth1"]


class Refused(Exception):
    pass


def demand(holds, what):
    if not holds:
        raise Refused(what)


def sigv4(asked, service):
    given = asked.headers["authorization"]
    demand(given, "no authorization")
    signed = given.split("SignedHeaders=")[1].split(",")[0].split(";")
    demand({"host", "x-amz-date"} <= set(signed), "host and date are not signed")
    headers = [(name, asked.headers[name]) for name in signed if name != "host"]
    request = AWSRequest(asked.command, f"http://{asked.headers['host']}{asked.path}", dict(headers), asked.body)
    request.context["timestamp"] = asked.headers["x-amz-date"]
    credentials = Credentials(AWS["access_key_id"], AWS["secret_access_key"], AWS["session_token"])
    demand(asked.headers["x-amz-security-token"] == AWS["session_token"], "another session token")
    if service == "s3":
        content = hashlib.sha256(asked.body).hexdigest()
        demand(asked.headers["x-amz-content-sha256"] == content, "another hash of the content")
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, AWS["region"])
    canonical = auth.canonical_request(request)
    expected = auth.signature(auth.string_to_sign(request, canonical), request)
    demand(given.endswith(f"Signature={expected}"), f"expected {expected} of {canonical!r}")


class Validator(RequestValidator):
    allowed_signature_methods = ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"]
    enforce_ssl = False
    client_key_length = request_token_length = access_token_length = (1, 100)
    nonce_length = (10, 100)
    dummy_client = "nobody"
    used = set()

    def check_client_key(self, key):
        return key == OAUTH1["consumer_key"]

    def validate_client_key(self, key, request):
        return key == OAUTH1["consumer_key"]

    def get_client_secret(self, key, request):
        return OAUTH1["consumer_secret"]

    def get_access_token_secret(self, key, token, request):
        return OAUTH1["token_secret"]

    def get_rsa_key(self, key, request):
        return OAUTH1["public_key"]

    def validate_timestamp_and_nonce(self, key, timestamp, nonce, request, **more):
        fresh = abs(int(timestamp) - time.time()) < 60 and nonce not in self.used
        self.used.add(nonce)
        return fresh


def oauth1(asked, _):
    endpoint = SignatureOnlyEndpoint(Validator())
    headers = {"Authorization": asked.headers["authorization"] or ""}
    if asked.headers["content-type"]:
        headers["Content-Type"] = asked.headers["content-type"]
    uri = f"http://{asked.headers['host']}{asked.path}"
    valid, _ = endpoint.validate_request(uri, asked.command, asked.body.decode(), headers)
    demand(valid, "oauthlib does not accept it")


def of_jwt(asked, algorithm):
    token = (asked.headers["authorization"] or "").removeprefix("Bearer ")
    key = SETTINGS["jwt"][algorithm]
    claims = jwt.decode(token, key, algorithms=[algorithm], audience="https://judge.example", issuer="karez")
    demand(claims["sub"] == "me" and claims["exp"] - claims["iat"] == 120, "other claims")
    demand(jwt.get_unverified_header(token)["kid"] == "k1", "another key id")


def of_hmac(asked, _):
    given = dict(part.split("=", 1) for part in (asked.headers["x-signature"] or "").split(","))
    message = f"{given['t']}.{asked.command}.{asked.path}.".encode() + asked.body
    code = hmac.new(SETTINGS["hmac"].encode(), message, hashlib.sha256)
    demand(base64.b64encode(code.digest()).decode() == given["v1"], "another code")


SESSIONS = {"made": 0, "ended": 0}


def log_in(asked, _):
    given = json.loads(asked.body)
    demand(given == {"user": "me", "password": SETTINGS["password"]}, "another password")
    SESSIONS["made"] += 1
    return {"data": {"session": f"s{SESSIONS['made']}"}}


def session(asked, action):
    if action == "log-in":
        return log_in(asked, action)
    if action == "end":
        SESSIONS["ended"] = SESSIONS["made"]
        return {}
    number = int((asked.headers["x-session"] or "s0")[1:])
    demand(SESSIONS["ended"] < number <= SESSIONS["made"], "no session")
    return SESSIONS


def saml(asked, _):
    given = parse_qs(asked.body.decode())
    demand(given["grant_type"] == ["urn:ietf:params:oauth:grant-type:saml2-bearer"], "another grant")
    encoded = given["assertion"][0]
    xml = etree.fromstring(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    signed = XMLVerifier().verify(xml, x509_cert=SETTINGS["certificate"]).signed_xml
    space = "{urn:oasis:names:tc:SAML:2.0:assertion}"
    demand(signed.tag == f"{space}Assertion", "something else is signed")
    demand(signed.findtext(f"{space}Issuer") == "karez & co", "another issuer")
    demand(signed.findtext(f"{space}Subject/{space}NameID") == "<me>", "another subject")
    return {"access_token": "from-saml", "token_type": "Bearer", "expires_in": 3600}


def bearer(asked, token):
    demand(asked.headers["authorization"] == f"Bearer {token}", "another token")


JUDGES = {
    "sigv4": sigv4, "oauth1": oauth1, "jwt": of_jwt, "hmac": of_hmac, "session": session, "saml": saml,
    "bearer": bearer,
}


class Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def judge(self):
        self.body = self.rfile.read(int(self.headers["content-length"] or 0))
        _, name, *rest = self.path.split("?")[0].split("/")
        try:
            answer, status = JUDGES[name](self, rest[0] if rest else None) or {}, 200
        except Exception as why:
            answer, status = {"why": f"{type(why).__name__}: {why}"}, 401
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = judge

    def log_message(self, *_):
        pass


class OverTls(Asked):
    def judge(self):
        subject = dict(part[0] for part in self.connection.getpeercert()["subject"])
        body = json.dumps(subject).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = judge


def tls():
    server = ThreadingHTTPServer(("127.0.0.1", 0), OverTls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SETTINGS["tls"]["certificate"], SETTINGS["tls"]["key"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(SETTINGS["tls"]["ca"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


judges = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
bin = make_server("127.0.0.1", 0, httpbin, threaded=True)
servers = {"judges": judges, "httpbin": bin, "tls": tls()}
for server in servers.values():
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({name: server.server_address[1] for name, server in servers.items()}), flush=True)
sys.stdin.read()
