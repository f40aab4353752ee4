#!/usr/bin/env python3
"""Writes corpus.tsv: labelled tables of realistic, synthetic rows.

Made from what the world's numbers and names look like (ISO 7812, ISO 13616, the
numbering rules of the states), not from what tidegate looks for. The seed is
fixed: the same file each time. No value is a real person's.

A line `#<tab>table<tab>column<tab>type<tab>class<tab>shaped` begins a column;
each line after it is `label<tab>value`. The label `-` is: not sensitive; several
are joined by commas. `shaped` is `yes` where a reader who sees nothing but the
value could name its class.
"""

import base64
import datetime
import hashlib
import ipaddress
import random
import re
import string
import sys
import unicodedata
import uuid
from pathlib import Path

R = random.Random(20240611)
COLUMNS = []


def column(table, name, kind, label, shaped, make, count=220):
    values = []
    for _ in range(count):
        made = make()
        values.append(made if isinstance(made, tuple) else (label, made))
    COLUMNS.append((table, name, kind, label, shaped, values))


def pick(*items):
    return R.choice(items)


def digits(count, first=None):
    text = "".join(R.choice(string.digits) for _ in range(count))
    if first:
        text = R.choice(first) + text[1:]
    return text


def letters(count):
    return "".join(R.choice(string.ascii_uppercase) for _ in range(count))


def token(count, signs=string.ascii_letters + string.digits):
    return "".join(R.choice(signs) for _ in range(count))


def luhn_digit(body):
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit)
        if place % 2 == 0:
            value *= 2
            if value > 9:
                value -= 9
        total += value
    return str(-total % 10)


def date(start=1930, end=2006):
    first = datetime.date(start, 1, 1).toordinal()
    last = datetime.date(end, 12, 31).toordinal()
    return datetime.date.fromordinal(R.randint(first, last))


# Names, in several languages.
GIVEN = """James Mary John Patricia Robert Linda Michael Elizabeth David Susan Aisha Mohammed Wei Li Yuki
Haruto Sofia Mateo Lucía Hugo Léa Émile Chloé Jürgen Anneliese Björn Åsa Zoë Siobhán Giulia Lorenzo Paweł
Małgorzata João Conceição Ivan Olga Priya Arjun Nguyễn Kwame Fatima Søren Öznur Niamh Anna Peter Katarzyna
Elif Emre Jin-woo Seo-yeon Thandiwe Sipho""".split()
FAMILY = """Smith Johnson Williams Brown Jones García Rodríguez Müller Schmidt Weiß Dubois Lefèvre Rossi Bianchi
O'Brien MacDonald Kowalski Wiśniewska Silva Santos Ivanov Petrova Sharma Patel Nguyen Mensah Okafor Larsen
Virtanen Korhonen Yılmaz Öztürk Kim Park Tanaka Suzuki Zhang Wang van-Dijk Janssen Andersson Hansen Peeters
Nkosi Dlamini Ferreira""".split()
CITIES = "Berlin Paris London Madrid Roma Lisboa Warszawa Stockholm Oslo Helsinki Boston Chicago Tokyo Mumbai".split()


def person():
    return pick(
        f"{R.choice(GIVEN)} {R.choice(FAMILY)}",
        f"{R.choice(GIVEN)} {letters(1)}. {R.choice(FAMILY)}",
        f"{R.choice(FAMILY)}, {R.choice(GIVEN)}",
    )


def ascii_of(name):
    plain = unicodedata.normalize("NFD", name.lower().replace("ß", "ss").replace("ø", "o").replace("ł", "l").replace("ı", "i"))
    return "".join(sign for sign in plain if sign in string.ascii_lowercase) or "user"


def email():
    given, family = ascii_of(R.choice(GIVEN)), ascii_of(R.choice(FAMILY))
    local = pick(
        f"{given}.{family}", f"{given}{R.randint(1, 99)}", f"{given[0]}{family}", f"{family}_{given}",
        f"{given}+{pick('news', 'shop', 'test')}", f"{given}-{family}",
    )
    host = pick(
        "example.com", "mail.example.org", "gmail.com", "web.de", "orange.fr", "correo.es", "libero.it",
        "company.co.uk", "uni-heidelberg.de", "poczta.pl", "uol.com.br", "corp.internal.io",
    )
    address = f"{local}@{host}"
    return address.upper() if R.random() < 0.03 else address


def street():
    return pick(
        lambda: f"{R.randint(1, 9999)} {pick('Main', 'Oak', 'Maple', 'Washington')} {pick('St', 'Street', 'Ave', 'Blvd')}",
        lambda: f"{pick('Haupt', 'Bahnhof', 'Garten', 'Linden')}straße {R.randint(1, 200)}",
        lambda: f"{R.randint(1, 99)} rue {pick('de la Paix', 'Victor Hugo', 'du Moulin')}",
        lambda: f"Calle {pick('Mayor', 'Real', 'del Sol')} {R.randint(1, 90)}, {R.randint(1, 9)}º",
        lambda: f"Via {pick('Roma', 'Garibaldi', 'Dante')} {R.randint(1, 150)}",
        lambda: f"ul. {pick('Długa', 'Polna', 'Lipowa')} {R.randint(1, 80)}/{R.randint(1, 40)}",
    )()


def phone_international():
    code, lengths = pick(
        ("1", (3, 3, 4)), ("44", (2, 4, 4)), ("44", (4, 6)), ("49", (2, 7)), ("49", (3, 8)), ("33", (1, 2, 2, 2, 2)),
        ("34", (3, 3, 3)), ("39", (3, 7)), ("31", (1, 8)), ("48", (3, 3, 3)), ("55", (2, 5, 4)), ("91", (5, 5)),
        ("61", (1, 4, 4)), ("81", (2, 4, 4)), ("46", (2, 3, 2, 2)), ("86", (3, 4, 4)),
    )
    groups = [digits(length, "23456789") if n == 0 else digits(length) for n, length in enumerate(lengths)]
    between = pick(" ", "-", "", " ")
    if code == "1" and R.random() < 0.4:
        return f"+1 ({groups[0]}) {groups[1].replace('0', '2').replace('1', '3')}-{groups[2]}"
    return f"+{code}{between}{between.join(groups)}"


def phone_us():
    area, middle, last = digits(3, "23456789"), digits(3, "23456789"), digits(4)
    if area[1:] == "11":
        area = area[0] + "02"
    return pick(f"({area}) {middle}-{last}", f"{area}-{middle}-{last}", f"{area}.{middle}.{last}", f"1-{area}-{middle}-{last}")


def phone_europe():
    return pick(
        lambda: "0" + digits(1, "123456789") + "".join(" " + digits(2) for _ in range(4)),
        lambda: f"0{digits(2, '3456789')} {digits(7)}",
        lambda: f"0{digits(3, '123456789')}/{digits(7)}",
        lambda: f"020 {digits(4, '378')} {digits(4)}",
        lambda: f"07{digits(3)} {digits(6)}",
        lambda: f"06-{digits(8, '1234578')}",
    )()


def ssn():
    area = R.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03}-{R.randint(1, 99):02}-{R.randint(1, 9999):04}"


def itin():
    middle = R.choice([*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)])
    return f"9{digits(2)}-{middle:02}-{digits(4)}"


def nino():
    while True:
        prefix = R.choice("ABCEGHJKLMNOPRSTWXYZ") + R.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"):
            break
    body, last = digits(6), R.choice("ABCD")
    return pick(f"{prefix}{body}{last}", f"{prefix} {body[:2]} {body[2:4]} {body[4:]} {last}")


def nhs():
    while True:
        body = digits(9, "46")
        check = 11 - sum(int(d) * (10 - n) for n, d in enumerate(body)) % 11
        if check == 10:
            continue
        body += str(check % 11)
        return f"{body[:3]} {body[3:6]} {body[6:]}"


def german_tax():
    while True:
        body = digits(10, "123456789")
        counts = sorted(body.count(d) for d in set(body))
        if counts[-1] in (2, 3) and (len(counts) < 2 or counts[-2] == 1):
            break
    product = 10
    for digit in body:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    number = body + str((11 - product) % 10)
    return pick(number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}")


def nir():
    dep = pick(*[f"{n:02}" for n in range(1, 96) if n != 20], "2A", "2B")
    head = f"{pick('1', '2')}{R.randint(0, 99):02}{R.randint(1, 12):02}"
    tail = f"{R.randint(1, 990):03}{R.randint(1, 999):03}"
    number = int((head + dep + tail).replace("2A", "19").replace("2B", "18"))
    key = 97 - number % 97
    if R.random() < 0.5:
        return f"{head}{dep}{tail}{key:02}"
    return f"{head[0]} {head[1:3]} {head[3:5]} {dep} {tail[:3]} {tail[3:]} {key:02}"


def dni():
    number = R.randint(0, 99_999_999)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"
    if R.random() < 0.25:
        lead = R.randint(0, 2)
        body = digits(7)
        return f"{'XYZ'[lead]}{body}{letter[int(str(lead) + body) % 23]}"
    return pick(f"{number:08}{letter[number % 23]}", f"{number:08}-{letter[number % 23]}")


def fiscal_code():
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    day = R.randint(1, 28) + pick(0, 40)
    code = f"{letters(6)}{digits(2)}{R.choice('ABCDEHLMPRST')}{day:02}{R.choice('ABCDEFGHILMZ')}{digits(3)}"
    total = 0
    for place, sign in enumerate(code):
        value = int(sign) if sign.isdigit() else ord(sign) - 65
        total += odd[value] if place % 2 == 0 else value
    return code + chr(65 + total % 26)


def bsn():
    while True:
        body = digits(8, "123456789")
        check = sum(int(d) * (9 - n) for n, d in enumerate(body)) % 11
        if check < 10:
            return body + str(check)


def pesel():
    born = date(1940, 2019)
    month = born.month + (20 if born.year >= 2000 else 0)
    body = f"{born.year % 100:02}{month:02}{born.day:02}{digits(4)}"
    weights = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3]
    return body + str(-sum(int(d) * w for d, w in zip(body, weights)) % 10)


def belgian():
    born = date(1940, 1999)
    body = f"{born:%y%m%d}{R.randint(1, 997):03}"
    check = 97 - int(body) % 97
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{check:02}"


def ahv():
    body = "756" + digits(9)
    check = -sum(int(d) * (1 if n % 2 == 0 else 3) for n, d in enumerate(body)) % 10
    number = body + str(check)
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}"


def cpr():
    return f"{date():%d%m%y}-{digits(4)}"


def fnr():
    while True:
        born = date(1940, 1999)
        body = f"{born:%d%m%y}{R.randint(0, 499):03}"
        one = 11 - sum(int(d) * w for d, w in zip(body, [3, 7, 6, 1, 8, 9, 4, 5, 2])) % 11
        one = 0 if one == 11 else one
        if one == 10:
            continue
        body += str(one)
        two = 11 - sum(int(d) * w for d, w in zip(body, [5, 4, 3, 2, 7, 6, 5, 4, 3, 2])) % 11
        two = 0 if two == 11 else two
        if two == 10:
            continue
        number = body + str(two)
        return pick(number, f"{number[:6]} {number[6:]}")


def hetu():
    born = date(1930, 2009)
    sign = "A" if born.year >= 2000 else "-"
    serial = R.randint(2, 899)
    number = int(f"{born:%d%m%y}{serial:03}")
    return f"{born:%d%m%y}{sign}{serial:03}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[number % 31]}"


def personnummer():
    born = date(1940, 1999)
    body = f"{born:%y%m%d}{digits(3)}"
    number = body + luhn_digit(body)
    return pick(f"{number[:6]}-{number[6:]}", f"{born:%Y%m%d}-{number[6:]}")


def mod11(body, weights):
    rest = sum(int(d) * w for d, w in zip(body, weights)) % 11
    return "0" if rest < 2 else str(11 - rest)


def cpf():
    body = digits(9)
    body += mod11(body, range(10, 1, -1))
    body += mod11(body, range(11, 1, -1))
    return pick(body, f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}")


def cnpj():
    body = digits(8) + "0001"
    body += mod11(body, [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
    body += mod11(body, [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
    return f"{body[:2]}.{body[2:5]}.{body[5:8]}/{body[8:12]}-{body[12:]}"


def curp():
    return f"{letters(4)}{date():%y%m%d}{pick('H', 'M')}{pick('DF', 'MC', 'JC', 'NL', 'VZ')}{''.join(R.choice('BCDFGHJKLMNPQRSTVWXYZ') for _ in range(3))}{pick('0', 'A')}{digits(1)}"


VERHOEFF_D = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
              [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
              [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
              [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]
VERHOEFF_P = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4], [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
              [8, 9, 1, 6, 0, 4, 3, 5, 2, 7], [9, 4, 5, 3, 1, 2, 6, 8, 7, 0], [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
              [2, 7, 9, 3, 8, 0, 6, 4, 1, 5], [7, 0, 4, 6, 9, 1, 3, 2, 5, 8]]
VERHOEFF_INV = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9]


def aadhaar():
    body = digits(11, "23456789")
    check = 0
    for place, digit in enumerate(reversed(body)):
        check = VERHOEFF_D[check][VERHOEFF_P[(place + 1) % 8][int(digit)]]
    number = body + str(VERHOEFF_INV[check])
    return f"{number[:4]} {number[4:8]} {number[8:]}"


def indian_pan():
    return f"{letters(3)}{R.choice('PPPPCHFAT')}{letters(1)}{digits(4)}{letters(1)}"


def tfn():
    while True:
        body = digits(9, "123456789")
        if sum(int(d) * w for d, w in zip(body, [1, 4, 3, 7, 5, 8, 6, 9, 10])) % 11 == 0:
            return f"{body[:3]} {body[3:6]} {body[6:]}"


def medicare():
    body = digits(8, "23456")
    check = sum(int(d) * w for d, w in zip(body, [1, 3, 7, 9, 1, 3, 7, 9])) % 10
    return f"{body[:4]} {body[4:]}{check} {R.randint(1, 9)}"


def sin():
    body = digits(8, "12345679")
    number = body + luhn_digit(body)
    return pick(f"{number[:3]}-{number[3:6]}-{number[6:]}", f"{number[:3]} {number[3:6]} {number[6:]}")


def nric():
    first = R.choice("STFG")
    body = digits(7)
    total = sum(int(d) * w for d, w in zip(body, [2, 7, 6, 5, 4, 3, 2])) + (4 if first in "TG" else 0)
    return first + body + ("JZIHGFEDCBA" if first in "ST" else "XWUTRQPNMLK")[total % 11]


def rrn():
    born = date(1940, 2009)
    return f"{born:%y%m%d}-{(R.randint(1, 2) if born.year < 2000 else R.randint(3, 4))}{digits(6)}"


def chinese():
    body = f"{pick('110105', '310101', '440305', '510107')}{date():%Y%m%d}{R.randint(1, 999):03}"
    total = sum(int(d) * w for d, w in zip(body, [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]))
    return body + "10X98765432"[total % 11]


def south_african():
    body = f"{date(1940, 1999):%y%m%d}{digits(4)}{pick('0', '1')}8"
    return body + luhn_digit(body)


def card():
    brand = pick("visa", "visa", "master", "master2", "amex", "discover", "jcb")
    body = {
        "visa": lambda: "4" + digits(14), "master": lambda: f"5{R.randint(1, 5)}{digits(13)}",
        "master2": lambda: f"{R.randint(2221, 2720)}{digits(11)}", "amex": lambda: f"3{pick('4', '7')}{digits(12)}",
        "discover": lambda: "6011" + digits(11), "jcb": lambda: f"{R.randint(3528, 3589)}{digits(11)}",
    }[brand]()
    number = body + luhn_digit(body)
    if brand == "amex":
        return pick(number, f"{number[:4]} {number[4:10]} {number[10:]}")
    return pick(number, *[between.join(number[n:n + 4] for n in range(0, 16, 4)) for between in " -"])


def iban():
    country, make = pick(
        ("DE", lambda: digits(18)), ("GB", lambda: letters(4) + digits(14)), ("FR", lambda: digits(10) + digits(11) + digits(2)),
        ("ES", lambda: digits(20)), ("IT", lambda: letters(1) + digits(22)), ("NL", lambda: letters(4) + digits(10)),
        ("PL", lambda: digits(24)), ("BE", lambda: digits(12)), ("CH", lambda: digits(17)), ("NO", lambda: digits(11)),
        ("SE", lambda: digits(20)), ("AT", lambda: digits(16)), ("PT", lambda: digits(21)),
    )
    body = make()
    rearranged = "".join(str(int(sign, 36)) for sign in body + country + "00")
    number = f"{country}{98 - int(rearranged) % 97:02}{body}"
    return pick(number, " ".join(number[n:n + 4] for n in range(0, len(number), 4)))


def ip4():
    while True:
        address = pick(
            lambda: f"10.{R.randint(0, 255)}.{R.randint(0, 255)}.{R.randint(1, 254)}",
            lambda: f"192.168.{R.randint(0, 255)}.{R.randint(1, 254)}",
            lambda: ".".join(str(R.randint(1, 254)) for _ in range(4)),
        )()
        if any(int(part) > 9 for part in address.split(".")):
            return address


def ip6():
    number = (0x2001 << 112) | R.getrandbits(pick(112, 96)) if R.random() < 0.7 else (0xFE80 << 112) | R.getrandbits(64)
    return str(ipaddress.IPv6Address(number))


def mac():
    return pick(":", "-").join(f"{R.randint(0, 255):02x}" for _ in range(6))


def position():
    return f"{R.uniform(-70, 70):.{R.randint(4, 6)}f}{pick(', ', ',')}{R.uniform(-170, 170):.{R.randint(4, 6)}f}"


def b64(count):
    return base64.urlsafe_b64encode(R.randbytes(count)).decode().rstrip("=")


def vendor_key():
    low = string.ascii_lowercase + string.digits
    return pick(
        lambda: "AKIA" + token(16, string.ascii_uppercase + "234567"),
        lambda: "ghp_" + token(36), lambda: "gho_" + token(36), lambda: "github_pat_" + token(22) + "_" + token(59),
        lambda: "glpat-" + token(20), lambda: f"xoxb-{digits(12)}-{digits(12)}-{token(24)}",
        lambda: "sk_live_" + token(24), lambda: "rk_test_" + token(24), lambda: "AIza" + token(35),
        lambda: "sk-ant-api03-" + token(80), lambda: "sk-proj-" + token(48), lambda: "SG." + token(22) + "." + token(43),
        lambda: "npm_" + token(36), lambda: "hf_" + token(34), lambda: "dop_v1_" + token(64, "0123456789abcdef"),
        lambda: "shpat_" + token(32, "0123456789abcdef"), lambda: "pypi-AgEIcHlwaS5vcmc" + token(60),
        lambda: "ya29." + token(60), lambda: "glsa_" + token(32) + "_" + token(8, "0123456789abcdef"), lambda: "hvs." + token(60),
        lambda: "whsec_" + token(32), lambda: "key-" + token(32, "0123456789abcdef"), lambda: "figd_" + token(40, low),
    )()


def jwt():
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(('{"sub":"%s","iat":%d}' % (digits(8), R.randint(1_600_000_000, 1_750_000_000))).encode()).decode().rstrip("=")
    return f"{head}.{body}.{b64(32)}"


def private_key():
    kind = pick("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY")
    return f"-----BEGIN {kind}-----\\n" + base64.b64encode(R.randbytes(90)).decode() + f"\\n-----END {kind}-----"


def connection():
    user, password, host = pick("app", "admin", "reporting"), token(14), pick("db.internal", "10.1.4.7", "pg-1.example.com")
    return pick(
        f"postgres://{user}:{password}@{host}:5432/main", f"mysql://{user}:{password}@{host}/shop",
        f"mongodb+srv://{user}:{password}@{host}/?retryWrites=true", f"redis://:{password}@{host}:6379/0",
        f"amqp://{user}:{password}@{host}", f"Server={host};Database=x;User Id={user};Password={password};",
        f"host={host} user={user} password={password} dbname=main",
    )


def password_hash():
    return pick(
        lambda: f"$2b$12${token(53, string.ascii_letters + string.digits + './')}",
        lambda: f"$argon2id$v=19$m=65536,t=3,p=4${b64(16)}${b64(32)}",
        lambda: f"pbkdf2_sha256$600000${token(22)}${base64.b64encode(R.randbytes(32)).decode()}",
        lambda: f"$6${token(16)}${token(86)}", lambda: "{SSHA}" + base64.b64encode(R.randbytes(24)).decode(),
        lambda: f"SCRAM-SHA-256$4096:{base64.b64encode(R.randbytes(16)).decode()}${base64.b64encode(R.randbytes(32)).decode()}:{base64.b64encode(R.randbytes(32)).decode()}",
    )()


def note():
    """Free text; some hold something."""
    plain = [
        "customer asked about delivery", "refund approved", "called back, no answer", "rappel lundi matin",
        "Rückruf erbeten", "cliente satisfecho", "item damaged in transit", "escalated to tier 2", "ok",
        f"order {digits(8)} shipped on 2024-0{R.randint(1, 9)}-1{R.randint(0, 9)}", f"paid {R.randint(5, 900)}.{digits(2)} EUR",
        f"version 2.{R.randint(0, 30)}.{R.randint(0, 9)} installed", f"ticket #{digits(6)} closed at 12:{R.randint(10, 59)}",
    ]
    if R.random() < 0.6:
        return ("-", R.choice(plain))
    label, value = pick(
        lambda: ("email", email()), lambda: ("phone", phone_international()), lambda: ("credit_card", card()),
        lambda: ("iban", iban()), lambda: ("us_ssn", ssn()), lambda: ("ip_address", ip4()), lambda: ("api_key", vendor_key()),
    )()
    return (label, pick(f"contact: {value}", f"{R.choice(plain)}; see {value}", f"bitte an {value} senden", f"{value} ({R.choice(plain)})"))


def card_of_sixteen():
    while True:
        number = card().replace(" ", "").replace("-", "")
        if len(number) == 16:
            return number


def beside():
    """A value with something else directly before or behind it."""
    return pick(
        lambda: ("credit_card", f"order #{R.randint(1, 99)} {card()}"),
        lambda: ("credit_card", f"{card()} {digits(4)} {digits(3)}"),
        lambda: ("credit_card", pick("card{}", "PAN_{}", "{}.00", "{}EUR", "-{}", "{}/12", "Nr.{}", "„{}“", "卡号{}", "q=%20{}", "card=3D{}").format(card().replace(" ", "").replace("-", ""))),
        lambda: ("credit_card", pick(".", "  ", " - ", "\u202f", "%20").join(re.findall("....", card_of_sixteen()))),
        lambda: ("iban", pick("Konto/{}", "x.{}", "{}EUR", "IBAN{}", "iban_{}", "账户{}号", "%3D{}").format(iban().replace(" ", ""))),
        lambda: ("iban", pick(".", "%20", "_").join(re.findall(".{1,4}", iban().replace(" ", "")))),
        lambda: ("email", pick("to={}&x=1", "x%20{}").format(email().replace("@", pick("%40", "=40", "&#64;")))),
        lambda: ("email", f'"{R.choice(GIVEN)} {letters(1)}"@example.org'),
        lambda: ("us_ssn", f"room {R.randint(1, 99)} {ssn()}"),
        lambda: ("phone", f"Tel{phone_international()}"),
        lambda: ("phone", f"{phone_us()}x{digits(3)}"),
        lambda: ("ip_address", pick("ip:{}", "addr_{}", "地址{}").format(ip4())),
        lambda: ("mac_address", f"mac:{mac()}"),
        lambda: ("api_key", pick("use {}.", "key%3D{}").format(vendor_key())),
        lambda: ("es_dni", pick("DNI/{}", "nif_{}").format(dni())),
    )()


def main():
    text, number = "text", "bigint"
    # What is sensitive.
    column("customers", "email", text, "email", True, email, 500)
    column("newsletter", "courriel", text, "email", True, email)
    column("kunden", "e_mail_adresse", text, "email", True, email)
    column("app_user", "userEmail", text, "email", True, email)
    column("customers", "phone", text, "phone", True, phone_international, 300)
    column("contacts", "mobile_number", text, "phone", True, phone_us)
    column("clients", "telephone", text, "phone", True, phone_europe)
    column("leads", "phone_raw", text, "phone", False, lambda: digits(10, "23456789"))
    column("customers", "first_name", text, "person_name", False, lambda: R.choice(GIVEN))
    column("customers", "last_name", text, "person_name", False, lambda: R.choice(FAMILY))
    column("patients", "name", text, "person_name", False, person)
    column("mitarbeiter", "nachname", text, "person_name", False, lambda: R.choice(FAMILY))
    column("employees", "fullName", text, "person_name", False, person)
    column("clientes", "apellidos", text, "person_name", False, lambda: R.choice(FAMILY))
    column("orders", "shipping_address", text, "postal_address", False, street)
    column("kunden", "strasse", text, "postal_address", False, street)
    column("clienti", "indirizzo", text, "postal_address", False, street)
    column("customers", "date_of_birth", "date", "birth_date", False, lambda: str(date()))
    column("personal", "geburtsdatum", text, "birth_date", False, lambda: f"{date():%d.%m.%Y}")
    column("employees", "ssn", text, "us_ssn", True, ssn, 400)
    column("w2", "social_security_no", text, "us_ssn", False, lambda: ssn().replace("-", ""))
    column("taxpayers", "itin", text, "us_itin", True, itin)
    column("uk_staff", "ni_number", text, "uk_nino", True, nino)
    column("gp_patients", "nhs_number", text, "uk_nhs", True, nhs)
    column("steuern", "steuer_id", text, "de_tax_id", True, german_tax)
    column("assures", "numero_secu", text, "fr_nir", True, nir)
    column("clientes", "dni", text, "es_dni", True, dni)
    column("clienti", "codice_fiscale", text, "it_fiscal_code", True, fiscal_code)
    column("burgers", "bsn", text, "nl_bsn", False, bsn)
    column("pracownicy", "pesel", text, "pl_pesel", True, pesel)
    column("belgians", "rijksregisternummer", text, "be_nrn", True, belgian)
    column("versicherte", "ahv_nummer", text, "ch_ahv", True, ahv)
    column("borgere", "cpr", text, "dk_cpr", True, cpr)
    column("innbyggere", "fodselsnummer", text, "no_fnr", True, fnr)
    column("asiakkaat", "hetu", text, "fi_hetu", True, hetu)
    column("kunder", "personnummer", text, "se_personnummer", True, personnummer)
    column("clientes_br", "cpf", text, "br_cpf", True, cpf)
    column("empresas", "cnpj", text, "br_cnpj", True, cnpj)
    column("ciudadanos", "curp", text, "mx_curp", True, curp)
    column("kyc", "aadhaar_number", text, "in_aadhaar", True, aadhaar)
    column("kyc", "pan_number", text, "in_pan", True, indian_pan)
    column("au_payroll", "tax_file_number", text, "au_tfn", True, tfn)
    column("au_patients", "medicare_no", text, "au_medicare", True, medicare)
    column("ca_employees", "sin", text, "ca_sin", True, sin)
    column("residents", "nric", text, "sg_nric", True, nric)
    column("kr_users", "resident_registration_number", text, "kr_rrn", True, rrn)
    column("cn_users", "id_card_no", text, "cn_id", True, chinese)
    column("za_customers", "sa_id_number", text, "za_id", True, south_african)
    column("travellers", "passport_number", text, "passport", False, lambda: pick(letters(1) + digits(8), letters(2) + digits(7), digits(9)))
    column("drivers", "driving_licence_no", text, "driving_licence", False, lambda: pick(letters(1) + digits(12), letters(5) + digits(6) + token(5, string.ascii_uppercase + string.digits)))
    column("payments", "card_number", text, "credit_card", True, card, 400)
    column("payments", "cvv", text, "card_verification", False, lambda: digits(pick(3, 4)))
    column("accounts", "iban", text, "iban", True, iban, 300)
    column("accounts", "account_number", text, "bank_account", False, lambda: digits(R.randint(8, 12)))
    column("accounts", "routing_number", text, "routing_number", False, lambda: digits(9))
    column("sessions", "client_ip", text, "ip_address", True, ip4)
    column("access_log", "remote_addr", text, "ip_address", True, lambda: pick(ip4, ip6)())
    column("devices", "mac_address", text, "mac_address", True, mac)
    column("stores_visits", "coordinates", text, "geo_position", True, position)
    column("rides", "latitude", "double precision", "geo_position", False, lambda: f"{R.uniform(-90, 90):.6f}")
    column("encounters", "diagnosis", text, "diagnosis", False, lambda: pick("E11.9", "I10", "J45.909", "Type 2 diabetes", "Asthma bronchiale", "F32.1"))
    column("patients", "mrn", text, "medical_record", False, lambda: digits(pick(7, 8)))
    column("providers", "npi", text, "npi", False, lambda: digits(10, "12"))
    column("hr", "religion", text, "special_category", False, lambda: pick("none", "catholic", "muslim", "jewish", "hindu"))
    column("app_user", "username", text, "username", False, lambda: ascii_of(R.choice(GIVEN)) + digits(2))
    column("legacy_login", "passwort", text, "password", False, lambda: token(R.randint(6, 14), string.ascii_letters + string.digits + "!?#"))
    column("app_user", "password_hash", text, "password_hash", True, password_hash)
    column("integrations", "api_key", text, "api_key", True, vendor_key, 400)
    column("oauth", "access_token", text, "api_key", False, lambda: b64(30))
    column("sessions", "jwt", text, "jwt", True, jwt)
    column("certificates", "private_key", text, "private_key", True, private_key, 60)
    column("services", "database_url", text, "connection_string", True, connection)
    # Free text, labelled cell by cell.
    column("tickets", "notes", text, "-", True, note, 1500)
    # What only looks alike.
    none = lambda table, name, kind, make, count=260: column(table, name, kind, "-", True, make, count)
    none("orders", "order_number", text, lambda: pick(f"ORD-{digits(8)}", digits(9), digits(10), f"{digits(3)}-{digits(7)}-{digits(7)}"), 400)
    none("orders", "id", number, lambda: digits(9, "123456789"), 400)
    none("events", "snowflake_id", number, lambda: "1" + digits(18))
    none("events", "event_uuid", text, lambda: str(uuid.UUID(int=R.getrandbits(128), version=4)), 400)
    none("events", "created_at", text, lambda: f"{date(2015, 2025)} {R.randint(0, 23):02}:{R.randint(0, 59):02}:{R.randint(0, 59):02}.{digits(6)}+00", 400)
    none("events", "ts_millis", number, lambda: str(R.randint(1_500_000_000_000, 1_760_000_000_000)), 400)
    none("events", "ts_compact", text, lambda: f"{date(2015, 2025):%Y%m%d}{R.randint(0, 23):02}{R.randint(0, 59):02}{R.randint(0, 59):02}")
    none("events", "iso_time", text, lambda: f"{date(2015, 2025)}T{R.randint(0, 23):02}:{R.randint(0, 59):02}:{R.randint(0, 59):02}Z")
    none("files", "md5", text, lambda: hashlib.md5(R.randbytes(8)).hexdigest())
    none("files", "sha256", text, lambda: hashlib.sha256(R.randbytes(8)).hexdigest())
    none("commits", "sha", text, lambda: hashlib.sha1(R.randbytes(8)).hexdigest())
    none("files", "path", text, lambda: f"/var/lib/{token(6).lower()}/{date(2015, 2025):%Y/%m/%d}/part-{digits(5)}.parquet")
    none("addresses", "zip", text, lambda: pick(digits(5), f"{digits(5)}-{digits(4)}", f"{letters(2)}{digits(1)} {digits(1)}{letters(2)}", f"{digits(2)}-{digits(3)}"), 400)
    none("addresses", "city", text, lambda: R.choice(CITIES))
    none("products", "name", text, lambda: f"{pick('Blue', 'Heavy', 'Mini')} {pick('Chair', 'Lamp', 'Router')} {R.randint(1, 900)}")
    none("products", "sku", text, lambda: f"{letters(3)}-{digits(4)}-{letters(2)}")
    none("products", "barcode", text, lambda: digits(12) + digits(1))
    none("products", "isbn", text, lambda: f"978-{digits(1)}-{digits(2)}-{digits(6)}-{digits(1)}")
    none("products", "price", "numeric", lambda: f"{R.randint(1, 99999)}.{digits(2)}")
    none("products", "version", text, lambda: pick(f"{R.randint(0, 20)}.{R.randint(0, 40)}.{R.randint(0, 99)}", f"v{R.randint(1, 9)}.{R.randint(0, 9)}.{R.randint(0, 9)}.{R.randint(0, 9)}"))
    none("products", "description", text, lambda: f"{pick('Solid', 'Elegant', 'Portable')} {pick('oak', 'steel', 'cotton')} piece, {R.randint(10, 300)} x {R.randint(10, 300)} cm, since {R.randint(1950, 2020)}")
    none("shipments", "tracking_number", text, lambda: pick(f"1Z{token(16, string.ascii_uppercase + string.digits)}", digits(12), f"{letters(2)}{digits(9)}{letters(2)}"))
    none("shipments", "flight", text, lambda: f"{letters(2)}{digits(4)}")
    none("stats", "email_count", "integer", lambda: digits(2))
    none("stats", "phone_calls_total", "integer", lambda: digits(3))
    none("users_settings", "email_verified", "boolean", lambda: pick("t", "f"))
    none("users_settings", "email_sent_at", "timestamp", lambda: f"{date(2015, 2025)} 10:00:00")
    none("users_settings", "password_changed_at", "timestamp", lambda: f"{date(2015, 2025)} 10:00:00")
    none("users_settings", "theme", text, lambda: pick("dark", "light", "system"))
    none("metrics", "value", "double precision", lambda: f"{R.uniform(-1000, 1000):.{R.randint(6, 14)}f}")
    none("metrics", "ratio_text", text, lambda: f"0.{digits(R.randint(8, 16))}")
    none("metrics", "label", text, lambda: pick("cpu.load", "http_requests_total", "std::alloc", "a.b.c"))
    none("invoices", "invoice_no", text, lambda: pick(f"INV-{R.randint(2015, 2025)}-{digits(6)}", f"{R.randint(2015, 2025)}/{digits(5)}"))
    none("invoices", "amount_text", text, lambda: pick(f"{R.randint(1, 9)}.{digits(3)}.{digits(3)},{digits(2)}", f"{R.randint(1, 9)},{digits(3)},{digits(3)}.{digits(2)}", f"{R.randint(1, 9)} {digits(3)} {digits(3)}"))
    none("invoices", "period", text, lambda: f"{date(2015, 2025):%d.%m.%Y} - {date(2015, 2025):%d.%m.%Y}")
    none("urls", "url", text, lambda: f"https://{pick('shop', 'www')}.example.com/{token(5).lower()}/{digits(6)}?page={R.randint(1, 9)}&sort=asc")
    none("urls", "mime", text, lambda: pick("text/html; charset=utf-8", "application/json", "image/png"))
    none("logs", "message", text, lambda: pick(f"GET /api/v1/items/{digits(7)} 200 {R.randint(1, 900)}ms", f"job {digits(8)} finished in {R.randint(1, 99)}.{digits(3)}s", f"retry {R.randint(1, 9)} of 10", "connection reset by peer", f"worker-{R.randint(1, 64)} started at 0x{token(8, '0123456789abcdef')}"), 500)
    none("logs", "trace_id", text, lambda: token(32, "0123456789abcdef"))
    none("logs", "span", text, lambda: token(16, "0123456789abcdef"))
    none("schedule", "slot", text, lambda: f"{R.randint(0, 23):02}:{R.randint(0, 59):02}-{R.randint(0, 23):02}:{R.randint(0, 59):02}")
    none("ranges", "ids", text, lambda: f"{digits(5)}-{digits(5)}")
    none("social", "handle_mention", text, lambda: f"@{token(8).lower()} thanks!")
    none("status", "state", text, lambda: pick("active", "pending", "in_progress", "erledigt", "annulé"), 400)
    none("config", "value_text", text, lambda: pick("max_connections=100", "ttl: 3600", "mode = fast", "level=debug"))
    none("docs", "citation", text, lambda: f"doi:10.{digits(4)}/{token(6).lower()}.{digits(4)}.{digits(3)}")
    none("dims", "size_text", text, lambda: f"{R.randint(10, 999)}x{R.randint(10, 999)}x{R.randint(10, 999)} mm")

    # What stands directly beside a value, and what only looks like one that does.
    column("statements", "memo", text, "-", True, beside, 900)
    none("licences", "serial_text", text, lambda: "-".join(digits(4) for _ in range(R.randint(5, 6))))
    none("batches", "numbers_text", text, lambda: " ".join(digits(pick(1, 2, 3, 5, 6, 7)) for _ in range(R.randint(3, 14))))
    none("batches", "years", text, lambda: " ".join(str(R.randint(1950, 2030)) for _ in range(R.randint(2, 9))))
    none("events", "key_text", text, lambda: f"{pick('evt', 'usr', 'file')}_{token(24)}")
    none("files", "sha_upper", text, lambda: hashlib.sha256(R.randbytes(8)).hexdigest().upper())
    none("files", "blob_text", text, lambda: base64.b64encode(R.randbytes(60)).decode())
    none("metrics", "pair_text", text, lambda: f"{R.uniform(0, 1):.16f};{R.randint(1, 9)}")
    none("packages", "file_text", text, lambda: f"{pick('lib', 'jdk', 'app')}-{R.randint(1, 30)}.{R.randint(0, 30)}.{R.randint(0, 30)}.{R.randint(0, 30)}")
    none("totals", "long_text", text, lambda: digits(R.randint(19, 40)))

    out = Path(__file__).with_name("corpus.tsv") if len(sys.argv) < 2 else Path(sys.argv[1])
    cells = 0
    with out.open("w", encoding="utf-8", newline="\n") as file:
        for table, name, kind, label, shaped, values in COLUMNS:
            file.write(f"#\t{table}\t{name}\t{kind}\t{label}\t{'yes' if shaped else 'no'}\n")
            for mark, value in values:
                assert "\t" not in value and "\n" not in value, value
                file.write(f"{mark}\t{value}\n")
                cells += 1
    print(f"{cells} cells in {len(COLUMNS)} columns, {len({c[3] for c in COLUMNS})} labels -> {out}")


if __name__ == "__main__":
    main()
