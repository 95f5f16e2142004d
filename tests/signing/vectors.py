# ruff: noqa: E501  signatures stand as they were published
"""Published signatures, each with its source: what providers and their libraries say is right.

Bodies with `body_file` are read from the samples directory (CROSSDOCK_SAMPLES).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crossdock.model.contract import Verify
from crossdock.model.ids import Instant

SAMPLES = Path(os.environ.get("CROSSDOCK_SAMPLES", Path(__file__).resolve().parents[3] / "shared" / "samples"))


UNTIMED = Instant(0)


@dataclass(frozen=True)
class Vector:
    """`now` is the moment at which the signature is fresh; 0 for what signs no time."""

    name: str
    source: str
    scheme: Verify
    secret: bytes
    headers: Mapping[str, str]
    knobs: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    body_file: str = ""
    stripped: bool = False
    url: str = "https://in.example/in/con_1"
    now: Instant = UNTIMED

    def content(self) -> bytes:
        """The body; skips the test with one line if its file is not there."""
        if not self.body_file:
            return self.body
        path = SAMPLES / self.body_file
        if not path.is_file():
            pytest.skip(f"needs {self.body_file} in CROSSDOCK_SAMPLES")
        raw = path.read_bytes()
        return raw.strip() if self.stripped else raw


VECTORS = (
    Vector(
        name="standard-webhooks v1a",
        source=(
            "svix/svix-webhooks server/svix-server/src/worker.rs test_asymmetric_key_signing + README.md:395 (MIT)"
        ),
        scheme=Verify.STANDARD_WEBHOOKS,
        knobs={},
        secret=b"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
        },
        body=b'{"test": 2432232314}',
        now=1614265330000,
    ),
    Vector(
        name="standard-webhooks v1",
        source=(
            "standard-webhooks/standard-webhooks libraries/python/tests/test_webhooks.py, test_sign_function (MIT)"
        ),
        scheme=Verify.STANDARD_WEBHOOKS,
        knobs={},
        secret=b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        body=b'{"test": 2432232314}',
        now=1614265330000,
    ),
    Vector(
        name="shopify over RFC 4231 case 1",
        source="https://www.rfc-editor.org/rfc/rfc4231, the digest in base64",
        scheme=Verify.SHOPIFY,
        knobs={},
        secret=b"\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b",
        headers={"x-shopify-hmac-sha256": "sDRMYdjbOFNcqK/OrwvxK4gdwgDJgz2nJuk3bC4yz/c="},
        body=b"Hi There",
    ),
    Vector(
        name="shopify over RFC 4231 case 2",
        source="https://www.rfc-editor.org/rfc/rfc4231, the digest in base64",
        scheme=Verify.SHOPIFY,
        knobs={},
        secret=b"Jefe",
        headers={"x-shopify-hmac-sha256": "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="},
        body=b"what do ya want for nothing?",
    ),
    Vector(
        name="github",
        source=(
            ""
            "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation (docs CC-BY-4.0)"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Hub-Signature-256", "prefix": "sha256="},
        secret=b"It's a Secret to Everybody",
        headers={"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        body=b"Hello, World!",
    ),
    Vector(
        name="slack",
        source=(
            "https://docs.slack.dev/authentication/verifying-requests-from-slack/ ; "
            "slackapi/python-slack-sdk tests/slack_sdk/signature/test_signature_verifier.py (MIT)"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={
            "header": "X-Slack-Signature",
            "prefix": "v0=",
            "template": "v0:{timestamp}:{raw}",
            "timestamp_header": "X-Slack-Request-Timestamp",
        },
        secret=b"8f742231b10e8888abcd99yyyzzz85a5",
        headers={
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        body=(
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel"
            b"_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command"
            b"=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%"
            b"2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47"
            b"445629121.803a0bc887a14d10d2c447fce8b6703c"
        ),
        now=1531420618000,
    ),
    Vector(
        name="stripe",
        source=(
            "stripe/stripe-dotnet src/StripeTests/Services/Events/EventUtilityTest.cs + "
            "Resources/event_test_signature.json (Apache-2.0); same vector in arlyon/async-stripe"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={
            "header": "Stripe-Signature",
            "template": "{timestamp}.{raw}",
            "timestamp_key": "t",
            "signature_key": "v1",
        },
        secret=b"webhook_secret",
        headers={
            "stripe-signature": "t=1533204620,v1=f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
        },
        body=(
            b"{\n"
            b'  "id": "evt_123",\n'
            b'  "object": "event",\n'
            b'  "account": "acct_123",\n'
            b'  "api_version": "2017-05-25",\n'
            b'  "created": 1533204620,\n'
            b'  "data": {\n'
            b'    "object": {\n'
            b'      "id": "ii_123",\n'
            b'      "object": "invoiceitem",\n'
            b'      "amount": 1000,\n'
            b'      "currency": "usd",\n'
            b'      "customer": "cus_123",\n'
            b'      "date": 1533204620,\n'
            b'      "description": "Test Invoice Item",\n'
            b'      "discountable": false,\n'
            b'      "invoice": "in_123",\n'
            b'      "livemode": false,\n'
            b'      "metadata": {},\n'
            b'      "period": {\n'
            b'        "start": 1533204620,\n'
            b'        "end": 1533204620\n'
            b"      },\n"
            b'      "plan": null,\n'
            b'      "proration": false,\n'
            b'      "quantity": null,\n'
            b'      "subscription": null\n'
            b"    }\n"
            b"  },\n"
            b'  "livemode": false,\n'
            b'  "pending_webhooks": 1,\n'
            b'  "request": {\n'
            b'    "id": "req_123",\n'
            b'    "idempotency_key": "idempotency-key-123"\n'
            b"  },\n"
            b'  "type": "invoiceitem.created"\n'
            b"}\n"
        ),
        now=1533204720000,
    ),
    Vector(
        name="square",
        source="square/square-python-sdk tests/integration/test_webhooks_helper.py (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "x-square-hmacsha256-signature", "encoding": "base64", "template": "{url}{raw}"},
        secret=b"signature-key",
        headers={"x-square-hmacsha256-signature": "Cxt7+aTi4rKgcA0bC4g9EHdVtLSDWdqccmL5MvihU4U="},
        body=b'{"data":{"type":"webhooks","id":">id<"}}',
        url="https://webhook.site/webhooks",
    ),
    Vector(
        name="adyen-platform",
        source="Adyen/adyen-python-api-library test/UtilTest.py test_is_valid_hmac_payload (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "HmacSignature", "encoding": "base64", "key": "hex"},
        secret=b"44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
        headers={"hmacsignature": "fX74xUdztFmaXAn3IusMFFUBUSkLmDQUK0tm8xL6ZTU="},
        body=(
            b"\n"
            b"        {\n"
            b'            "type": "merchant.created",\n'
            b'            "environment": "test",\n'
            b'            "createdAt": "01-01-2024",\n'
            b'            "data": {\n'
            b'                "capabilities": {\n'
            b'                    "sendToTransferInstrument": {\n'
            b'                        "requested": true,\n'
            b'                        "requestedLevel": "notApplicable"\n'
            b"                    }\n"
            b"                },\n"
            b'                "companyId": "YOUR_COMPANY_ID",\n'
            b'                "merchantId": "YOUR_MERCHANT_ACCOUNT",\n'
            b'                "status": "PreActive"\n'
            b"            }\n"
            b"        }\n"
            b"        "
        ),
    ),
    Vector(
        name="paddle",
        source=(
            "PaddleHQ/paddle-python-sdk tests/Unit/Notification/_fixtures/standard_payload.json (.strip()) (Apache-2.0)"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={
            "header": "Paddle-Signature",
            "template": "{timestamp}:{raw}",
            "timestamp_key": "ts",
            "signature_key": "h1",
            "separator": ";",
        },
        secret=b"pdl_ntfset_01hs0t3tw21j988db1pam5xg8m_GrOWLNef+vmtjJYq4mSnHNzvc8uWoJ1I",
        headers={
            "paddle-signature": "ts=1710498758;h1=558bf93944dbeb4790c7a8af6cb2ea435c8ca9c8396aafc1a4e37424ac132744"
        },
        body_file="webhooks/paddle/standard_payload.json",
        stripped=True,
        now=1710498758000,
    ),
    Vector(
        name="razorpay",
        source=(
            "razorpay/razorpay-python tests/test_client_utility.py + "
            "tests/mocks/fake_payment_authorized_webhook.json (MIT)"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Razorpay-Signature"},
        secret=b"key_secret",
        headers={"x-razorpay-signature": "d60e67fd884556c045e9be7dad57903e33efc7172c17c6e3ef77db42d2b366e9"},
        body_file="webhooks/razorpay/fake_payment_authorized_webhook.json",
    ),
    Vector(
        name="hubspot-v3",
        source="HubSpot/hubspot-api-python tests/spec/utils/test_signature.py (Apache-2.0)",
        scheme=Verify.GENERIC_HMAC,
        knobs={
            "header": "X-HubSpot-Signature-v3",
            "encoding": "base64",
            "template": "{method}{url}{raw}{timestamp}",
            "timestamp_header": "X-HubSpot-Request-Timestamp",
            "timestamp_unit": "ms",
        },
        secret=b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        headers={
            "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
            "x-hubspot-request-timestamp": "1693657560000",
        },
        body=b"{'example_field':'example_value'}",
        url="https://www.example.com/webhook_uri",
        now=1693657560000,
    ),
    Vector(
        name='sha1 body=\'{"a": "z"}\'',
        source="adnanh/webhook internal/hook/hook_test.go (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "algorithm": "sha1", "legacy": "true"},
        secret=b"secret",
        headers={"x-signature": "b17e04cbb22afa8ffbff8796fc1894ed27badd9e"},
        body=b'{"a": "z"}',
    ),
    Vector(
        name="sha1 body=''",
        source="adnanh/webhook internal/hook/hook_test.go (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "algorithm": "sha1", "legacy": "true"},
        secret=b"secret",
        headers={"x-signature": "25af6174a0fcecc4d346680a72b7ce644b9a88e8"},
        body=b"",
    ),
    Vector(
        name='sha256 body=\'{"a": "z"}\'',
        source="adnanh/webhook internal/hook/hook_test.go (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature"},
        secret=b"secret",
        headers={"x-signature": "f417af3a21bd70379b5796d5f013915e7029f62c580fb0f500f59a35a6f04c89"},
        body=b'{"a": "z"}',
    ),
    Vector(
        name="sha256 body=''",
        source="adnanh/webhook internal/hook/hook_test.go (MIT)",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature"},
        secret=b"secret",
        headers={"x-signature": "f9e66e179b6747ae54108f82f8ade8b3c25d76fd30afde6c395822c530196169"},
        body=b"",
    ),
    Vector(
        name="sha512 hex",
        source="frain-dev/convoy pkg/verifier/verifier_test.go",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "algorithm": "sha512"},
        secret=b"Convoy",
        headers={
            "x-signature": "83306382f5361d35351d6de45998f23b52f40bcf96befe4e92f137c0f1bf4a7119388b238d8f9d502ac77e6f1a8849a4778272667ed88d530cac8050bd1fee2d"
        },
        body=b"Test Payload Body",
    ),
    Vector(
        name="RFC4231 TC1",
        source="https://www.rfc-editor.org/rfc/rfc4231",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "key": "hex"},
        secret=b"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        headers={"x-signature": "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        body=b"Hi There",
    ),
    Vector(
        name="RFC4231 TC2",
        source="https://www.rfc-editor.org/rfc/rfc4231",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "key": "hex"},
        secret=b"4a656665",
        headers={"x-signature": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        body=b"what do ya want for nothing?",
    ),
    Vector(
        name="RFC4231 TC6 (131-byte key)",
        source="https://www.rfc-editor.org/rfc/rfc4231",
        scheme=Verify.GENERIC_HMAC,
        knobs={"header": "X-Signature", "key": "hex"},
        secret=b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        headers={"x-signature": "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        body=b"Test Using Larger Than Block-Size Key - Hash Key First",
    ),
    Vector(
        name="zendesk",
        source=(
            "aaronellington/zendesk-go zendesk/webhook_test.go + "
            "test_files/requests/webhook/user/group_membership_created.json @ dfeda33d6b8525a4d08460e5f8560701f7465732"
        ),
        scheme=Verify.GENERIC_HMAC,
        knobs={
            "header": "X-Zendesk-Webhook-Signature",
            "encoding": "base64",
            "template": "{timestamp}{raw}",
            "timestamp_header": "X-Zendesk-Webhook-Signature-Timestamp",
        },
        secret=b"dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
        headers={
            "x-zendesk-webhook-signature": "10IqYzYTLHRftNsNE+im0DeOM6/JactIRuy0XCHJ9B8=",
            "x-zendesk-webhook-signature-timestamp": "1234",
        },
        body=(
            b"{\n"
            b'\t"type": "zen:event-type:user.group_membership_created",\n'
            b'\t"account_id": 12514403,\n'
            b'\t"id": "6b9bbadf-5725-4e92-bebe-7b71011bf5f1",\n'
            b'\t"subject": "zen:user:6596848315901",\n'
            b'\t"time": "2099-07-04T05:33:18Z",\n'
            b'\t"zendesk_event_version": "2022-06-20",\n'
            b'\t"detail": {\n'
            b'\t\t"created_at": "2099-07-04T05:27:58Z",\n'
            b'\t\t"default_group_id": "0",\n'
            b'\t\t"email": "user.name@example.com",\n'
            b'\t\t"external_id": "",\n'
            b'\t\t"id": "6596848315901",\n'
            b'\t\t"organization_id": "0",\n'
            b'\t\t"role": "end-user",\n'
            b'\t\t"updated_at": "2099-07-04T05:33:18Z"\n'
            b"\t},\n"
            b'\t"event": { "group": { "id": "1" } }\n'
            b"}\n"
        ),
        now=1234000,
    ),
)
