"""Sorts what mail servers answer by whom it is about: us, the message, or the mailbox.

Only a mailbox's own refusal may ever count against a subscriber. What is about us (our address,
account, relay, name, rate or reputation) would meet every message, so sending stops. Codes with
dots are those of RFC 3463; where servers use them for something else, their words decide:
Postfix, Exim, Sendmail, Exchange and Office 365, Gmail, Yahoo, QQ, 163 and Coremail, Yandex,
mail.ru, GMX and web.de, Orange, SES, SendGrid, Mailgun and cPanel, in their own languages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Whom(StrEnum):
    """Whom a refusal is about."""

    US = "us"
    MESSAGE = "message"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True)
class Blame:
    """Whom a refusal is about, and what for.

    Attributes:
        kind: of us `sender`, `relay`, `login`, `name`, `rate`, `reputation`, `greylisted`,
            `session` (this connection ends, no more) or `unknown`; of the message `too_large`,
            `content`, `restricted` (the mailbox takes mail only from some) or `unknown`; of the
            mailbox `gone` (a whole point against it), `full` and `unreachable` (half a point), or
            `busy` (none).
        is_temporary: the same message may be accepted later.
    """

    whom: Whom
    kind: str
    is_temporary: bool

    @property
    def is_unreachable(self) -> bool:
        """Whether the mailbox accepts nothing, although it may exist."""
        return self.whom is Whom.MAILBOX and self.kind in {"full", "unreachable"}

    @property
    def advice(self) -> str:
        """What an operator can do about a refusal of us."""
        return _ADVICE.get(self.kind, _ADVICE["sender"])


_ADVICE = {
    "sender": "Set [mail] from to an address that this account may send from",
    "relay": "Set [mail] username, or ask its operator to relay mail from this machine",
    "login": "Correct [mail] username and TRIAGE_MAIL_PASSWORD, or ask its operator",
    "rate": "Wait until it accepts more, or set [mail] per_second",
    "session": "Ask its operator how many messages it takes in one connection",
    "name": "Set [mail] helo_name to this machine's name in DNS, and check its reverse DNS",
    "reputation": "Run `triage doctor`, or ask its operator why",
}

CONNECTING = frozenset({"greeting", "ehlo", "starttls", "auth"})
"""The steps before a message is offered: whatever is refused there is about us."""

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")


def enhanced_code(text: str) -> str:
    """Return the first code of RFC 3463 in an answer, like 5.1.1; "" if there is none."""
    found = _ENHANCED.search(text)
    return found[0] if found else ""


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE)


_GREYLISTED = _words(r"gr[ea]y-?\ ?list|postgrey|\bgreyed")
_BUSY = _words(
    r"""(user|recipient|mailbox|account|contact)\b.{0,60}\b(receiving\ (mail|messages|too)
    |rate\ that|too\ (quickly|many\ messages))|recipient.{0,30}(rate\ limit|throttl)
    |STOREDRV.{0,60}thread\ limit""",
)
_ENOUGH = _words(
    r"""\b(messages?|e?-?mails?|recipients?|transactions?|deliver(y|ies)|enough|limit)\b.{0,60}
      \b(this|per|an?|one|single|each|same)\ (\w+\ )?(session|connection)\b
    |\b(session|connection)\ (message|mail|recipient|transaction)\ (limit|count)
    |(nachrichten|mails)\b.{0,40}\b(pro|diese[rn]?|eine[rn]?)\ (verbindung|sitzung)
    |(messages|mails|courriels)\b.{0,40}\b(par|cette|une)\ (m[eê]me\ )?(connexion|session)
    |(mensajes|correos)\b.{0,40}\b(por|esta|una)\ (misma\ )?(conexi[oó]n|sesi[oó]n)
    |(сообщени|пис[еь]м)\w*\b.{0,40}\b(за|в|на)\ (\w+\ )?(соединени|сесси|сеанс)
    |(当前|每次|单次|本次|每个)(连接|会话).{0,12}(数量|限制|上限|过多)""",
)
# In this order: the first words that match decide.
_ABOUT_US: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "sender",
        _words(
            r"""sender\ (address\ )?(verif\w+|rejected|denied|not\ (allowed|verified|valid)|unknown)
            |verification\ failed\ for|callout|call-?out\ verification
            |send\ ?as\ ?denied|not\ (allowed|authori[sz]ed|permitted)\ to\ send\ (as|from
            |mail\ from)
            |(not|isn'?t)\ owned\ by\ user|(invalid|unknown|bad|unverified)\ sender
            |does\ not\ match\ a\ verified|email\ address\ is\ not\ verified
            |verified\ sender\ identity
            |from\ (address|header)\b.{0,40}(not|must|verif|match|own)|domain\ of\ sender
            |sender'?s?\ (domain|mailbox|e-?mail|address)\b.{0,40}(not|exist|disab|reject|unknown
            |resol)
            |mail\ from\b.{0,40}(must|not\ (equal|match|allowed)|authoriz)
            |return[-\ ]path.{0,30}invalid
            |absender\w*\b.{0,50}(nicht|abgelehnt|unbekannt|ung[uü]ltig|gesperrt)
            |exp[ée]diteur\b.{0,50}(refus|rejet|inconnu|invalide|non|pas)
            |remitente\b.{0,50}(rechaz|no\ |desconoc|inv[aá]lid)
            |发件人|发信人|寄件人|отправител""",
        ),
    ),
    (
        "relay",
        _words(
            r"""relay(ing)?\ (access\ )?(is\ )?(not\ |denied|prohibited|disabled|forbidden|refused)
            |(unable|not\ (permitted|allowed|authori[sz]ed)|cannot|refuse[sd]?|won'?t)\ to\ relay
            |no\ relay
            |do(es)?\ not\ relay|open\ relay|not\ a\ gateway|rcpthosts|sandbox\ (sub)?domains?
            |(weiter|zustell)leitung\ nicht|relais\ (refus|interdit)|retransmisi[oó]n\ (no|deneg)
            |(пересылка|ретрансляц|релей)|转发(被拒|未)|不允许转发""",
        ),
    ),
    (
        "login",
        _words(
            r"""auth(entication|entifi\w+|\ is)?\ (is\ )?(required|failed|credentials|needed|first)
            |must\ (issue\ a\ starttls|authenticate|log\ ?in)|(smtp|pop3?
            |esmtp)[- ]?auth\w*\ (is\ )?(req|need)
            |not\ (logged\ in|authenticated)|log\ ?in\ (first|required)|please\ log\ ?in|\blog\ in$
            |client\ was\ not\ auth
            |(your|sending|sender'?s?)\ account\b.{0,40}(suspend|disabled|block|limit|closed
            |not\ active)
            |(account|domain)\b.{0,40}(not\ (allowed|enabled)\ to\ send|sending\ (paused|disabled
            |suspend))
            |sending\ (paused|is\ (disabled|suspended))|payment\ required|anmeldung\ erforderlich
            |authentifi(zierung|cation)\ (erforderlich|requise|n[ée]cessaire)
            |autenticaci[oó]n\ (req|neces)
            |требуется\ (авториз|аутентиф)|需要(身份)?(验证|认证)|(?<!收)认证失败""",
        ),
    ),
    (
        "rate",
        _words(
            r"""(frequency|rate)\ (is\ )?(limit|exceed|control)|rate[- ]limit|throttl
            |too\ (many|much)\ (invalid\ |bad\ |unknown\ )?(mails?|messages|e-?mails?|recipients
            |connections|concurrent
            |sessions|errors|requests)
            |too\ fast|slow\ down|(max|exceed)\w*\b.{0,40}\b(per|an?|this)\ (hour|day|minute|month)
            |max\ defers
            |(daily|hourly|monthly|sending|message|mail|recipient|maximum\ (send
            |credits))\ ?(user\ )?
              (sending\ )?(quota|limit|rate|credits)s?\b.{0,40}(exceed|reach|hit)
            |exceeded?\b.{0,30}\b(sending|daily|hourly|messages?|credits)\b
            |maximum\ credits\ exceeded
            |(zu\ viele|limit\ f[uü]r)\ (nachrichten|e-?mails|verbindungen|empf[aä]nger)
            |trop\ de\ (messages|connexions|destinataires|mails|requ)|demasiad[oa]s\ (mensajes
            |conex|correos|dest)
            |слишком\ (много|часто)|превышен\w*\ (лимит|число|колич)|频率|发信(超|过|太|限)
            |超过.{0,12}(限制|上限)|连接数""",
        ),
    ),
    (
        "name",
        _words(
            r"""\b(helo|ehlo)\b|reverse\ (dns|lookup|address|hostname|mapping)|\brdns\b|\bptr\b
            |(cannot|can'?t|could\ not|unable\ to)\ (find|resolve)\ your\ (reverse\ )?(host|ip|name
            |domain)
            |your\ (host\ ?name|reverse)|umgekehrte\ aufl[oö]sung|反向解析|обратн\w+\ (зон|dns
            |запис)""",
        ),
    ),
    (
        "reputation",
        _words(
            r"""client\ host\b.{0,80}(rejected|block|denied)|(black|block|deny)[- ]?list|\b(dns|r
            |uri)bls?\b
            |spamhaus|spamcop|barracudacentral|sorbs|senderscore|reputation|\b(spf|dkim|dmarc)\b
            |\b(your|this|sending|source|client)\ (ip|server|host|network|address|domain
            |mail\ server)\b
              .{0,60}(block|banned|reject|denied|listed|spam|not\ (allowed|permit|accept|authori))
            |(?<!not\ )listed\ (as|in|at|on|by)\b
            |(ip|host|server|network)\b.{0,50}\b(is|was|been)\ (block
            |ban|list|black)
            |(blocked|banned|bad)\ (ip|host|sender|server)|blocked\ (using|by\ (our|rbl|spam))
            |refused\ to\ (talk|accept\ mail\ from)|administrative(ly)?\ prohibi
            |unauthenticated\ (e?mail|sender)
            |does\ not\ meet\b.{0,40}authentication|suspicious\ due\ to\ the|gesperrt.{0,20}(ip
            |server)|\bip\b.{0,30}gesperrt|suspended\ for|schwarze\ liste
            |liste\ noire|lista\ negra|(ip|адрес)\b.{0,40}(заблок|ч[её]рн)|ч[её]рн\w+\ спис|黑名单
            |(IP|域名).{0,12}(拒|禁|封|屏蔽)""",
        ),
    ),
)
_FULL = _words(
    r"""(mail\ ?box|inbox|account|user|recipient)\b.{0,40}\b(full|over\ ?(the\ )?(its\ )?(quota
    |storage|limit))
    |(over|out\ of|exceed\w*)\ (the\ |its\ |their\ |your\ |disk\ |mailbox\ |storage\ |allocated\s
    |message\ )*
      (quota|storage|mailbox\ size)|quota\ (is\ )?(exceeded|full|reached)|insufficient\ (disk
      |mailbox|storage)
    |not\ enough\ (disk|storage)|(postfach|mailbox|speicher\w*)\b.{0,30}(voll|[uü]berschritten
    |ersch[oö]pft)
    |bo[iî]te\b.{0,40}(pleine|satur|quota)|quota\ d[ée]pass|buz[oó]n\b.{0,40}(lleno|llena|cuota
    |excedid)
    |(ящик|почт\w*)\b.{0,40}(переполн|полон|заполн)|(邮箱|信箱|邮件空间|容量).{0,8}(已满|满|不足
    |超)|超出.{0,6}容量""",
)
_GONE = _words(
    r"""user\ unknown|unknown\ (user|recipient|address|mailbox|account|local)|recipient\ unknown
    |(recipient|mailbox|user|account|address)\b.{0,60}\b(not|n't|never|cannot\ be)\ (be\ )?(found
    |exist|known)
    |no\ such\ (user|mailbox|recipient|address|account|person|local|e-?mail)|no\ mailbox\ (here|by
    |found)
    |(does|do)\ ?n[o'’]t\ ?t?\ exist|doesn[’']?t\ (exist|have\ an?\ \S+\ account)
    |not\ a\ known\ user
    |(invalid|non-?existent|nonexisting)\ (recipient|mailbox|user|account)|not\ a\ valid\ (mailbox
    |user|recipient)
    |(account|mailbox|user|recipient)\b.{0,40}\b(is|has\ been|was)\ (disabled|closed|deleted
    |deactivated|inactive|terminated|suspended)
    |user\ suspended|mailbox\ (disabled|deleted|closed|not\ available\ any|name\ not\ allowed)
    |account\ (disabled
    |closed|deleted|inactive)
    |no\ longer\ (active|valid|exists?|in\ use|works|available\ here)|unroute?able\ address
    |addressee\ unknown
    |RecipNotFound|RecipientNotFound|mailbox\ unavailable.{0,40}(not\ found|no\ such)
    |(empf[aä]nger\w*|benutzer\w*|postfach|adresse|konto)\b.{0,40}(unbekannt|existiert\ nicht
    |nicht\ (gefunden|vorhanden|bekannt|existi)|gel[oö]scht|deaktiviert)
    |(unbekannte[rs]?|ung[uü]ltige[rs]?)\ (empf[aä]nger|benutzer|postfach)
    |(destinataire|utilisateur|adresse|compte|bo[iî]te)\b.{0,60}(inconnu|n['’ ]?existe\ (pas|plus)
    |introuvable|d[ée]sactiv|invalide|ferm[ée])
    |(destinatario|usuario|buz[oó]n|cuenta|direcci[oó]n)\b.{0,50}(desconocid|no\ (existe|encontrad
    |se\ encuentra)|inexistente|deshabilitad|cerrad)
    |(получател|пользовател|адресат|ящик|аккаунт)\w*\b.{0,40}(не\ (найден|существ|известен
    |зарегистр)|неизвестен|удал[её]н|отключ|заблокирован)
    |(нет\ такого|неизвестный|несуществующ\w+)\ (пользовател|получател|ящик|адрес)
    |not\ listed\ in\b.{0,40}(directory|address\ book)|nicht\ im\b.{0,20}verzeichnis
    |pas\ (r[ée]pertori[ée]\ )?dans\b.{0,20}annuaire
    |(ユーザー?|アドレス|宛先|受信者|メールボックス|アカウント).{0,12}(存在し(ません|ない)|見つかりません
    |不明|無効|ありません)|ディレクトリ.{0,8}されていません
    |(收件人|用户|帐号|账号|帐户|账户|邮箱|收信人|地址).{0,10}(不存在|不正确|已注销|被注销|已停用
    |未找到|无效)|不存在.{0,6}(用户|邮箱|收件人)""",
)
_RESTRICTED = _words(
    r"""recipient\ (address\ )?rejected|AuthRequired|not\ (auth\w+|allowed|permitted)\ to\ send\ to
    |only\ accepts?\ (mail|messages)
    |restricted\ (recipient|distribution)|NotAuthorized|recipient'?s?\b.{0,30}(polic|block|prefer
    |restrict)|blocked\ by\ (the\ )?(recipient|user)""",
)
_LARGE = _words(
    r"""(message|mail|size|content|attachment)\w*\b.{0,40}(too\ (large|big)
    |exceed\w*\b.{0,30}(limit|size|maxim)|maximum\ size)
    |too\ (big|large)|(exceed|over)\w*\b.{0,30}\bsize|nachricht.{0,20}zu\ gro(ß|ss)|trop\ (grand
    |volumineux|gros)
    |demasiado\ grande|слишком\ (большо|велик)|邮件(过大|太大)|exceeds\ the\ limit""",
)
_SPAM = _words(
    r"""spam|access\ denied|unsolicited|\bjunk|\bbulk|virus|malware|\bbanned|垃圾|спам
    |correo\ no\ deseado""",
)
_OURS = {"1.7", "1.8", "7.7", "7.8", "7.9", "7.20", "7.21", "7.22", "7.23", "7.24", "7.25"}
_OURS |= {"7.26", "7.27", "7.30", "7.32", "7.40", "7.60", "7.64", "7.508", "7.509", "7.511"}
_OURS |= {"7.515", "7.57", "7.501", "7.502", "7.503", "7.606", "7.700", "7.705", "7.750", "7.708"}
# The message is not allowed for this recipient, a group or a closed mailbox (Exchange).
_CLOSED = {"7.12", "7.120", "7.121", "7.122", "7.123", "7.124", "7.129", "7.13", "7.133", "7.134"}
_CLOSED |= {"7.2", "7.135", "7.136"}
_AWAY = {"1.2", "1.3", "1.4", "1.6", "2.0", "2.4", "4.0", "4.1", "4.2", "4.3", "4.4", "4.6", "4.7"}
_AWAY |= {"4.300", "4.310", "4.312", "4.316", "1.0"}


def classify(step: str, code: int, enhanced: str, text: str) -> Blame:
    """Return whom a refusal is about.

    Args:
        step: `greeting`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `end` (after the
            final dot), or `report` for a delivery report (RFC 3464), which may quote any step.
        code: the three digits of the answer; 0 in a report that has none.
        enhanced: a code like 5.1.1; "" if there is none.
        text: the words of the server, all lines, with or without the codes.
    """
    text = " ".join(text.split())
    is_temporary = code // 100 == 4 if code else enhanced.startswith("4")
    if code == 421:
        return Blame(Whom.US, "session", True)
    if _ENOUGH.search(text):
        return Blame(Whom.US, "session", is_temporary)
    about_us = next((kind for kind, words in _ABOUT_US if words.search(text)), "")
    if step in CONNECTING:
        kind = about_us or ("login" if step == "auth" else "unknown")
        return Blame(Whom.US, kind, is_temporary)
    detail = enhanced.partition(".")[2]
    whom, kind = _blame(step, code, detail, text, about_us)
    if whom is Whom.US and is_temporary and not about_us and kind != "greylisted":
        # Many servers that greylist do not say so.
        kind = "unknown"
    if kind == "gone" and is_temporary:
        kind = "unreachable"
    return Blame(whom, kind, is_temporary or kind == "busy")


def _blame(step: str, code: int, detail: str, text: str, about_us: str) -> tuple[Whom, str]:
    is_gone = bool(_GONE.search(text))
    says_gone = is_gone and code == 552 and detail != "2.2"
    storage = "" if says_gone else _storage(step, code, detail, text, about_us)
    if storage == "too_large":
        return Whom.MESSAGE, storage
    if _GREYLISTED.search(text):
        return Whom.US, "greylisted"
    if code in {530, 534, 535, 538}:
        return Whom.US, about_us or "login"
    if step == "mail":
        return Whom.US, about_us or "unknown"
    if _BUSY.search(text):
        return Whom.MAILBOX, "busy"
    if rule := _rule(detail, text, about_us):
        return rule
    if detail in _OURS:
        return Whom.US, about_us or ("sender" if detail[:1] == "1" else "reputation")
    if about_us and not (is_gone and about_us in {"reputation", "name"} and detail[:2] == "1."):
        return Whom.US, about_us
    if storage:
        return Whom.MAILBOX, storage
    return _plain(step, detail, text, is_gone=is_gone)


def _storage(step: str, code: int, detail: str, text: str, about_us: str) -> str:
    """Return `full` for a mailbox without room, `too_large` for such a message, else ""."""
    if detail in {"3.4", "2.3"}:
        return "too_large"
    if detail == "2.2" or _FULL.search(text):
        return "full"
    if about_us:
        return ""
    if _LARGE.search(text):
        return "too_large"
    if code == 552 and detail in {"", "0.0"}:
        # RFC 5321, 4.2.3: storage, which at RCPT is that of the mailbox.
        return "full" if step == "rcpt" else "too_large"
    return ""


def _rule(detail: str, text: str, about_us: str) -> tuple[Whom, str] | None:
    """Return whom a refusal is about that names a rule of the recipient's; None if it does not."""
    rejects_recipient = bool(_RESTRICTED.search(text))
    if detail == "4.1" and rejects_recipient:
        # Exchange Online says so of a mailbox that its directory does not have.
        return Whom.MAILBOX, "gone"
    is_policy = detail[:2] == "7." and rejects_recipient and not about_us
    if detail in _CLOSED or "RESOLVER.RST" in text or is_policy:
        return Whom.MESSAGE, "restricted"
    return None


def _plain(step: str, detail: str, text: str, *, is_gone: bool) -> tuple[Whom, str]:
    """Return whom a refusal is about that does not speak of us."""
    if detail[:2] == "7.":
        return _policy(step, is_gone=is_gone)
    is_spam = bool(_SPAM.search(text))
    if is_gone or (detail in {"1.1", "1.10", "2.1"} and step not in {"data", "end"}):
        return (Whom.MESSAGE, "content") if is_spam else (Whom.MAILBOX, "gone")
    if is_spam:
        return (Whom.US, "reputation") if step == "rcpt" else (Whom.MESSAGE, "content")
    if detail in _AWAY:
        return Whom.MAILBOX, "unreachable"
    return Whom.MESSAGE, "content" if detail[:2] == "6." else "unknown"


def _policy(step: str, *, is_gone: bool) -> tuple[Whom, str]:
    """Return whom a refusal for a policy is about that gives no better reason."""
    if is_gone:
        # The code says one thing and the words another: nobody is blamed.
        return Whom.MESSAGE, "unknown"
    # At RCPT the server has seen only us; after the message it may mean its content.
    return (Whom.US, "reputation") if step == "rcpt" else (Whom.MESSAGE, "content")


# -- many refusals at once -------------------------------------------------------------------------

FIRST = 50
MOST_OF_FIRST = FIRST // 5
MOST_IN_A_ROW = 10


@dataclass
class RefusalCount:
    """Counts what a drain was refused for good, since so many at once are hardly all right."""

    n_answered: int = 0
    n_refused: int = 0
    in_a_row: int = 0

    def add(self, *, is_refused: bool) -> bool:
        """Count an answer; return whether this many refusals are too many."""
        self.n_answered += 1
        self.n_refused += is_refused
        self.in_a_row = self.in_a_row + 1 if is_refused else 0
        too_many = self.n_answered <= FIRST and self.n_refused > MOST_OF_FIRST
        return is_refused and (too_many or self.in_a_row >= MOST_IN_A_ROW)
