import base64
import dataclasses
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import pytest

from config import (
    SETTINGS,
    ApiKey,
    ProviderQuota,
    Settings,
    SettingsError,
    simulator_environment,
    store_socket,
)

REMOTE = {
    "REDIS_URL": "redis://:p4ssw0rd@redis.example:6379/0",
    "API_KEYS": "shop:s3cret-of-the-shop-0001,crm:s3cret-of-the-crm-00002",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
}

SENTINELS = {"REDIS_SENTINELS": "a.example:26379,[::1]:5000", "REDIS_SENTINEL_MASTER": "mail"}


def faults(**environment: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**REMOTE, **environment})
    return caught.value.faults


def test_defaults_make_settings_that_can_be_used():
    settings = Settings.from_env(REMOTE)
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.public_url == settings.local_url == "http://127.0.0.1:8000"
    assert settings.providers == ("mailgun", "sendgrid", "ses")
    assert settings.retry_schedule == (10, 30, 60, 120, 300, 600)
    assert settings.message_expiry == 86400
    assert settings.max_body_bytes == 15 * 1024 * 1024
    assert not settings.embedded_store
    assert settings.worker_processes >= 1


def test_every_setting_is_a_field_and_its_default_text_means_what_no_text_means():
    fields = {field.name for field in dataclasses.fields(Settings)}
    names = {setting.name.lower() for setting in SETTINGS}
    assert fields - names == {"embedded_store", "environment"}
    assert names <= fields
    explicit = {setting.name: setting.default for setting in SETTINGS if setting.default}
    del explicit["PROVIDERS"]  # It decides about the simulator.
    without = dataclasses.replace(Settings.from_env(REMOTE), environment={})
    assert without == dataclasses.replace(Settings.from_env({**explicit, **REMOTE}), environment={})


def test_an_empty_value_counts_as_none():
    assert Settings.from_env({**REMOTE, "PORT": "", "RETENTION": " "}).port == 8000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("24h", 86400), ("7d", 604800)],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(text, seconds):
    assert Settings.from_env({**REMOTE, "RETENTION": text}).retention == seconds


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("2KiB", 2048), ("1 MiB", 1 << 20)])
def test_a_size_is_a_number_of_bytes_or_has_a_unit(text, size):
    assert Settings.from_env({**REMOTE, "MAX_BODY_BYTES": text}).max_body_bytes == size


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("PORT", "٣"),
        ("HOST", "mail.example"),
        ("PUBLIC_URL", "mail.example"),
        ("PUBLIC_URL", "https://mail.example/?a=b"),
        ("REDIS_URL", "http://redis.example"),
        ("REDIS_SENTINEL_MASTER", "the mail"),
        ("MAX_BACKLOG", "0"),
        ("MAX_BACKLOG_BYTES", "half"),
        ("SECRET_KEY", "short"),
        ("SIMULATOR", "maybe"),
        ("SIMULATOR_API_PORTS", "postbox:1"),
        ("SIMULATOR_API_PORTS", "mailgun:1,ses:1"),
        ("SIMULATOR_API_PORTS", "mailgun"),
        ("PROVIDERS", "mailgun,,ses"),
        ("PROVIDERS", "mailgun,mailgun"),
        ("PROVIDERS", "os.system(1)"),
        ("ON_UNKNOWN", "guess"),
        ("RETENTION", "soon"),
        ("RETENTION", "0"),
        ("RETENTION", "99999d"),
        ("RETENTION", "-5s"),
        ("RETRY_SCHEDULE", "10s,,1m"),
        ("WORKER_PROCESSES", "0"),
        ("MAX_BODY_BYTES", "15MB"),
        ("TRUSTED_PROXIES", "-1"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_one_fault_that_names_its_setting(name, text):
    (fault,) = faults(**{name: text})
    assert fault.startswith(f"{name}: ")
    assert "\n" not in fault


def test_a_choice_that_does_not_exist_is_told_with_those_that_do():
    assert faults(ON_UNKNOWN="guess") == ("ON_UNKNOWN: must be one of failover, hold, not 'guess'",)


def test_all_faults_are_told_at_once():
    assert [fault.split(":")[0] for fault in faults(PORT="x", RETENTION="y", API_KEYS="z")] == [
        "PORT",
        "API_KEYS",
        "RETENTION",
    ]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"SEND_DEADLINE": "45s"}, "SEND_DEADLINE"),
        ({"LEASE_SECONDS": "20s"}, "SEND_DEADLINE"),
        ({"CONNECT_TIMEOUT": "31s"}, "CONNECT_TIMEOUT"),
        ({"READ_TIMEOUT": "31s"}, "READ_TIMEOUT"),
        ({"SIMULATOR_PORT": "8000"}, "SIMULATOR_PORT"),
        ({"SIMULATOR_API_PORTS": "ses:8025"}, "SIMULATOR_PORT"),
        ({"REDIS_SENTINELS": "a:26379"}, "REDIS_SENTINEL_MASTER"),
        ({"REDIS_SENTINEL_MASTER": "mail"}, "REDIS_SENTINEL_MASTER"),
        ({**SENTINELS, "REDIS_URL": "unix:///run/redis.sock"}, "REDIS_URL"),
    ],
)
def test_settings_that_contradict_each_other_are_a_fault(environment, name):
    (fault,) = faults(**environment)
    assert fault.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "keys",
    [
        "no-colon-in-it-at-all",
        "with space:s3cret-of-the-shop-0001",
        "shop:short",
        "shop:s3cret-of-the-shop-0001,shop:s3cret-of-the-shop-0002",
        "shop:s3cret-of-the-shop-0001,crm:s3cret-of-the-shop-0001",
        "shop:s3cret of the shop 0001",
        "shop:s3cret-of-the-shop-0001,",
    ],
)
def test_a_bad_api_key_is_a_fault_that_does_not_tell_the_secret(keys):
    (fault,) = faults(API_KEYS=keys)
    assert fault.startswith("API_KEYS: ")
    assert "s3cret" not in fault


def test_api_keys_and_the_secret_key_are_required_with_a_redis_of_ones_own():
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"REDIS_URL": "redis://redis.example"})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["API_KEYS", "SECRET_KEY"]


def test_sentinels_are_enough_to_find_a_redis():
    settings = Settings.from_env({**REMOTE, **SENTINELS, "REDIS_URL": ""})
    assert settings.redis_sentinels == ("redis://a.example:26379", "redis://[::1]:5000")
    assert settings.redis_sentinel_master == "mail"
    assert settings.redis_url == ""
    assert not settings.embedded_store


@pytest.mark.parametrize(
    "text", ["a", "a:", ":1", "a:1,", "a:b", "a:1/0", "me:s3cret@a", "[::1:1", "redis://a:1"]
)
def test_a_bad_address_of_a_sentinel_is_one_fault_that_does_not_tell_its_password(text):
    (fault,) = faults(**{**SENTINELS, "REDIS_SENTINELS": text})
    assert fault.startswith("REDIS_SENTINELS: entry ")
    assert "s3cret" not in fault


def test_the_password_of_a_sentinel_is_not_shown():
    sentinels = {**SENTINELS, "REDIS_SENTINELS": "me:s3cret@a:1"}
    settings = Settings.from_env({**REMOTE, **sentinels})
    assert settings.redis_sentinels == ("redis://me:s3cret@a:1",)
    assert "me:s3cret" not in repr(settings)


@pytest.mark.parametrize(("text", "limit"), [("auto", None), ("0", 0), ("2GiB", 2 << 30)])
def test_the_memory_for_mail_is_a_size_or_none_or_left_to_the_server(text, limit):
    assert Settings.from_env({**REMOTE, "MAX_BACKLOG_BYTES": text}).max_backlog_bytes == limit


def test_a_secret_may_hold_a_colon():
    settings = Settings.from_env({**REMOTE, "API_KEYS": "shop:aaaaaaaa:bbbbbbbbb"})
    assert settings.api_keys == (ApiKey("shop", "aaaaaaaa:bbbbbbbbb"),)


def test_no_secret_is_in_the_representation():
    text = repr(Settings.from_env({**REMOTE, "MAILGUN_API_KEY": "key-of-mailgun"}))
    assert "shop" in text
    for secret in ("s3cret", "p4ssw0rd", REMOTE["SECRET_KEY"], "key-of-mailgun"):
        assert secret not in text


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, True),
        ({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_REGION": "eu-west-1"}, True),
        ({"PROVIDERS": "mailgun"}, False),
        ({"MAILGUN_API_KEY": "key"}, False),
        ({"SENDGRID_API_KEY": "SG."}, False),
        ({"SENDGRID_API_KEY": "SG.", "SIMULATOR": "on"}, True),
        ({"SIMULATOR": "off"}, False),
    ],
)
def test_the_simulator_is_on_unless_providers_were_chosen(environment, on):
    assert Settings.from_env({**REMOTE, **environment}).simulator is on


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:81"), ("::", "http://[::1]:81"), ("::1", "http://[::1]:81")],
)
def test_links_lead_to_an_address_that_can_be_reached(host, url):
    assert Settings.from_env({**REMOTE, "HOST": host, "PORT": "81"}).public_url == url


def test_localhost_is_the_loopback_address():
    assert Settings.from_env({**REMOTE, "HOST": "localhost"}).host == "127.0.0.1"


def test_a_public_url_loses_its_last_slash():
    environment = {**REMOTE, "PUBLIC_URL": "https://mail.example.com/"}
    assert Settings.from_env(environment).public_url == "https://mail.example.com"


@pytest.mark.parametrize("path", ["/mail", "/mail/", "/a/b", "/."])
def test_a_public_url_with_a_path_is_refused(path):
    with pytest.raises(SettingsError, match="PUBLIC_URL: must have no path, and has '/"):
        Settings.from_env({**REMOTE, "PUBLIC_URL": f"https://host.example.com{path}"})


def test_the_first_start_makes_a_key_and_a_secret_that_only_their_owner_reads(tmp_path):
    first = Settings.from_env({"DATA_DIR": str(tmp_path / "new")})
    assert first.embedded_store
    (key,) = first.api_keys
    assert key.name == "default"
    assert key.secret.startswith("sp_")
    assert (tmp_path / "new/api-key").read_text() == f"{key.secret}\n"
    for name in ("api-key", "secret-key"):
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["api-key", "secret-key"]

    second = Settings.from_env({"DATA_DIR": str(tmp_path / "new")})
    assert (second.api_keys, second.secret_key) == (first.api_keys, first.secret_key)


def test_processes_that_start_at_once_agree_on_the_first_key(tmp_path):
    program = (
        "import sys; from config import Settings; sys.stdin.read(1);"
        "settings = Settings.from_env(); print(settings.api_keys[0].secret, settings.secret_key)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={"DATA_DIR": str(tmp_path)},
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(6)
    ]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=20)[0] for process in processes}
    assert len(answers) == 1
    assert answers.pop().startswith(b"sp_")


def test_no_first_key_is_made_where_keys_are_given(tmp_path):
    environment = {key: REMOTE[key] for key in ("API_KEYS", "SECRET_KEY")}
    settings = Settings.from_env({**environment, "DATA_DIR": str(tmp_path)})
    assert settings.embedded_store
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_without_a_key_is_a_fault_that_says_what_to_do(tmp_path):
    (tmp_path / "api-key").write_text("\n")
    with pytest.raises(SettingsError, match="api-key holds no usable secret; delete it"):
        Settings.from_env({"DATA_DIR": str(tmp_path)})


def test_a_data_dir_that_cannot_be_made_is_one_fault(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"DATA_DIR": str(tmp_path / "file" / "data")})
    (fault,) = caught.value.faults
    assert fault.startswith("DATA_DIR: cannot use ")
    assert fault.endswith("Not a directory; choose another one")


def test_the_socket_lies_in_the_data_dir_where_its_path_is_short(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.chdir(directory)
        here = Path(directory).resolve()
        assert store_socket(Path("data")) == here / "data/valkey.sock"
        settings = Settings.from_env({"DATA_DIR": "a b"})
        assert settings.redis_url == f"unix://{here}/a%20b/valkey.sock"
        monkeypatch.undo()


def test_the_socket_of_a_long_data_dir_is_short_private_and_always_the_same(tmp_path):
    long = tmp_path / ("x" * 60) / ("y" * 60)
    path = store_socket(long)
    assert path == store_socket(tmp_path / "x" / ".." / ("x" * 60) / ("y" * 60))
    assert path != store_socket(tmp_path / ("x" * 60) / ("z" * 60))
    assert len(str(path)) < 100
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_simulators_credentials_look_real_and_hang_on_the_secret_key():
    settings = Settings.from_env(REMOTE)
    values = simulator_environment(settings)
    assert values == simulator_environment(Settings.from_env(REMOTE))
    other = simulator_environment(dataclasses.replace(settings, secret_key=b"another"))
    same = {name for name, value in values.items() if other[name] == value}
    assert not any(
        re.search("KEY|TOKEN$|SECRET|CREDENTIALS", name) for name in same - {"AWS_SESSION_TOKEN"}
    )
    assert len(values["MAILGUN_API_KEY"]) == len("key-") + 32
    assert [len(part) for part in values["SENDGRID_API_KEY"].split(".")] == [2, 22, 43]
    assert len(values["AWS_ACCESS_KEY_ID"]) == 20
    assert len(values["AWS_SECRET_ACCESS_KEY"]) == 40
    assert UUID(values["POSTMARK_SERVER_TOKEN"]).version == 4
    assert len(values["RESEND_API_KEY"]) == len("re_") + 32
    assert len(values["MANDRILL_API_KEY"]) == len("md-") + 22
    assert len(base64.b64decode(values["RESEND_WEBHOOK_SECRET"].removeprefix("whsec_"))) == 24
    user, password = values["POSTMARK_WEBHOOK_CREDENTIALS"].split(":")
    assert (user, len(password)) == ("postmark", 32)


def test_the_simulators_base_urls_follow_its_ports():
    environment = {**REMOTE, "SIMULATOR_PORT": "9000", "SIMULATOR_API_PORTS": "ses:9003"}
    values = simulator_environment(Settings.from_env(environment))
    assert values["MAILGUN_BASE_URL"] == "http://127.0.0.1:9000/mailgun"
    assert values["SES_BASE_URL"] == "http://127.0.0.1:9003/ses"
    assert values["RESEND_BASE_URL"] == "http://127.0.0.1:9000/resend"


def test_a_quota_has_a_rate_a_day_or_both():
    text = "mailgun:100/s, ses:14/s+50000/day, acme:5/day"
    assert Settings.from_env({**REMOTE, "PROVIDER_QUOTAS": text}).provider_quotas == {
        "mailgun": ProviderQuota(100, None),
        "ses": ProviderQuota(14, 50000),
        "acme": ProviderQuota(None, 5),
    }


@pytest.mark.parametrize(
    "text",
    [
        *("ses", "ses:", "ses:14", "ses:14/h", "ses:0/s", "ses:1.5/s", "ses:1/s+", "ses:+1/day"),
        *("ses:1/day+1/s", "ses:1/s+1/s", ":1/s", "ses:1/s,ses:1/day", "ses:1/s,,mailgun:1/s"),
    ],
)
def test_what_is_no_quota_is_a_fault(text):
    (fault,) = faults(PROVIDER_QUOTAS=text)
    assert fault.startswith("PROVIDER_QUOTAS: ")
