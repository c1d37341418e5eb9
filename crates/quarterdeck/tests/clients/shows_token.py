"""The official Python client with nothing but a token, which comes on standard input."""

import sys

import kubernetes

server, authority = sys.argv[1:]
token = sys.stdin.read()


def client(token):
    settings = kubernetes.client.Configuration(host=server)
    settings.ssl_ca_cert = authority
    settings.api_key = {"authorization": f"Bearer {token}"}
    return kubernetes.client.ApiClient(settings)


with client(token) as good:
    review = kubernetes.client.AuthenticationV1Api(good).create_self_subject_review({})
    print(review.status.user_info.username)
    kubernetes.client.CoreV1Api(good).list_event_for_all_namespaces()

with client(token[:-1]) as bad:
    try:
        kubernetes.client.CoreV1Api(bad).list_event_for_all_namespaces()
    except kubernetes.client.ApiException as error:
        print(error.status, "when shortened")
