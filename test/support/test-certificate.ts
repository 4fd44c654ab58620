/**
 * A self-signed certificate for `localhost` and 127.0.0.1, valid until 2126, and its key. Made for tests with
 * `openssl req -x509`; nothing else ever trusted it, so the key is no secret.
 */
export const testCertificate = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUdxQpAJF63VxxMiGW7aTbJ72f7UEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA4MzEzMVoYDzIxMjYxMDI4
MDgzMTMxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASyoLX+BnhS81g0QT/+/sAm1h2khDWFlZUHAfOYHIa610GzEjOwERCy
Yd0dQhLv+iL7bBOY5WwL5cnXqdDRLKPpo28wbTAdBgNVHQ4EFgQUDZgtdRQRHWkW
Z8cGvl1PyW5iZIYwHwYDVR0jBBgwFoAUDZgtdRQRHWkWZ8cGvl1PyW5iZIYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgIFzAVPqphnUXKwM5JqBcqTgDbyWGxIMzJv83QtYW3m8CIETj
MKKzbPAqHwPOFCQocmu9xb8CdmCQYoILwh78PeFU
-----END CERTIFICATE-----
`;

export const testCertificateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJ6PwIj7Vqt/NZ02M
Locjv2WUyd4CorHLtBZazbcxKkuhRANCAASyoLX+BnhS81g0QT/+/sAm1h2khDWF
lZUHAfOYHIa610GzEjOwERCyYd0dQhLv+iL7bBOY5WwL5cnXqdDRLKPp
-----END PRIVATE KEY-----
`;
