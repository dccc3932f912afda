"""The words in which mail servers refuse, in their languages, sorted by what they mean.

Those of Postfix, Exim, Sendmail, Exchange and Office 365, Gmail, Yahoo, QQ, 163 and Coremail,
Yandex, mail.ru, GMX and web.de, Orange, gateways like Cisco's and Mimecast, relays like SES and
Mailgun, and cPanel. `tests/data/refusals.txt` has an answer for each.
"""

from __future__ import annotations

import re


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.VERBOSE)


GREYLISTED = _words(r"gr[ea]y-?\ ?list|postgrey|\bgreyed")
BUSY = _words(
    r"""(user|recipient|mailbox|account|contact)\b.{0,60}\b(receiving\ (mail|messages|too)
    |rate\ that|too\ (quickly|many\ messages(?!\ on)))
    |recipient(?!\ address\ rej).{0,30}(rate\ limit|throttl)
    |STOREDRV.{0,60}thread\ limit""",
)
ENOUGH = _words(
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
ABOUT_US: tuple[tuple[str, re.Pattern[str]], ...] = (
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
            |from['"]?\ (address|header)\b.{0,40}(not|must|verif|match|own)|domain\ of\ sender
            |sender\ domain\b.{0,40}\bno\ mx|badsendermx|purported\ responsible
            |valid\ sender\ domain|(unroutable|empty|null)\ (envelope\ )?sender
            |sender\ domain\ is|from:?\ domain\ is|[ée]metteur\b.{0,30}(invalide|refus|inconnu)
            |unconfigured\ sending\ domain|\bmx\ for\ sender
            |sender'?s?\ (domain|mailbox|e-?mail|address)\b.{0,40}(not|exist|disab|reject|unknown
            |resol)
            |mail\ from\b.{0,40}(must|not\ (equal|match|allowed)|authoriz)
            |return[-\ ]path.{0,30}invalid
            |absender\w*\b.{0,50}(nicht|abgelehnt|unbekannt|ung[uü]e?ltig|gesperrt)
            |exp[ée]diteur\b.{0,50}(refus|rejet|inconnu|invalide|non|pas)
            |remitente\b.{0,50}(rechaz|no\ |desconoc|inv[aá]lid)
            |(mittente|remetente|afzender|nadawc\w+|odes[ií]latel\w*)\b.{0,40}\b(rifiut|sconosci|non
            |bloc|rejeit|desconh|n[aã]o|inv[aá]lid|geweigerd|onbekend|niet|odrzuc|niezn|nie|odm[ií]t
            |nezn|ne)
            |domain\ is\ not\ verified|(发件人|发信人|寄件人).{0,10}[不未被拒禁无限错]
            |(送信者|差出人).{0,12}(拒否|存在し|無効|不正|認証)
            |отправител\w*.{0,30}\b(не|заблок|отклон|запрещ)""",
        ),
    ),
    (
        "relay",
        _words(
            r"""relay(ing)?\ (access\ )?(is\ )?(temporarily\ )?(not\ |denied|prohibited|disabled
            |forbidden|refused|rejected|disallowed|check)|credentials\ for\ relay
            |insecure\ mail\ relay|not\ configured\ to\ relay
            |(unable|not\ (permitted|allowed|authori[sz]ed)|cannot|refuse[sd]?|won'?t)\ to\ relay
            |no\ relay|cannot\ deliver\ mail\ for|delivery\ is\ not\ allowed\ to\ this\ address
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
            |client\ was\ not\ auth|authenticate\ first|permissions?\ to\ submit
            |turn\ on\ smtp\ auth|(your|smtp)\ account\ is\ not|account\ is\ (under\ review|pending)
            |outgoing\ (e?mails?|messages)\b.{0,60}(suspen|disab|block|not\ allowed)
            |server\ requires?\ authentication|not\ (subscribed\ to\ ses|authorized\ to\ perform)
            |(your|sending|sender'?s?)\ account\b.{0,40}(suspend|disabled|block|lock|limit|closed
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
            |too\ (many|much)\ (invalid\ |bad\ |unknown\ |smtp\ )?(mails?(?!\ data)|messages
              |e-?mails?|recipients|connections|concurrent|sessions|errors|requests|commands)
            |too\ fast|slow\ down
            |(max|exceed|limit)\w*\b.{0,40}(\b(per|an?|this|each|every)\ |/)(hour|day|minute|month)
            |(tenant|organi[sz]ation)\b.{0,20}\bexceed|unusual\ (rate|sending)|connection\ limit
            |(plan|monthly|daily|hourly)\ (plan\ )?limit\ (is\ |was\ )?(reached|exceeded)
            |(reach|exceed|hit)\w*\ (your|the)\ (daily|hourly|monthly|sending)\b.{0,20}limit
            |(sender|sending|submission|outgoing)\b.{0,20}\bquota|quota\ of\ (this\ )?sender
            |(atteint|superado|raggiunto|atingi\w+|excedi\w+)\b.{0,20}\bl[ií]mite|\blimit\b.{0,20}
              (e-?mails|nachrichten)\b.{0,30}(erreicht|[uü]e?berschritten)
            |\bl[ií]mite\b.{0,10}\b(d['’]envoi|di\ invio|de\ env[ií]o)
            |max\ defers
            |(daily|hourly|monthly|sending|message|mail|recipient|maximum\ (send
            |credits))\ ?(user\ )?
              (send(ing)?\ )?(quota|limit|rate|credits)s?\b.{0,40}(exceed|reach|hit)
            |exceeded?\b.{0,30}\b(sending|daily|hourly|messages?|credits)\b
            |maximum\ credits\ exceeded
            |(zu\ viele|limit\ f[uü]e?r)\ (nachrichten|e-?mails|verbindungen|empf[aä]e?nger)
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
            |your\ (host\ ?name|reverse)|name\ lookup\ failed|resolve\ your\ address
            |unresolvable\ relay|umgekehrte\ aufl[oö]sung|反向解析|обратн\w+\ (зон|dns
            |запис)""",
        ),
    ),
    (
        "reputation",
        _words(
            r"""client\ host\b.{0,80}(rejected|block|denied)
            |(?<!may\ be\ )(black|block|deny)[- ]?list
            |\b(dns|r
            |uri)bls?\b
            |spamhaus|spamcop|barracudacentral|sorbs|senderscore|reputation|\b(spf|dkim|dmarc)\b
            |\b(your|this|sending|source|client)\ (ip|server|host|network|address|domain
            |mail\ server)\b
              .{0,60}(block|banned|reject|denied|listed|spam|not\ (allowed|permit|accept|authori))
            |(?<!not\ )listed\ (as|in|at|on|by)\b
            |(ip|host|server|network)\b.{0,50}\b(is|was|been)\ (block
            |ban|list|black)
            |(blocked|banned|bad)\ (ip|host|sender|server)|blocked\ (using|by\ (our|rbl|spam))
            |^\W*(blocked|refused)\b(?!\ by\ (the\ )?(recipient|user))
            |^\W*go\ away|from\ (the\ )?ip\ address\b.{0,30}block
            |invalid\ ip\b|dynamic\ ip|no\ access\ from|open\ proxy|by\ your\ ip
            |smtp\ server\ of\ your\ isp|not\ allowed\ to\ connect|access\ to\ submit\ messages
            |accepting\ mail\ from\ your
            |server\ does\ not\ accept\ (e?mail|messages)\ from
            |\bblock\ for\ spam|spoof(ed|ing)|spam\ sender
            |OutboundSpam|connection\ (was\ )?(rejected|denied)
            |(messages?|e?mails?|connections?)\ from\ \[?[\da-f.:]+\]?.{0,40}(defer|block|reject
            |refus|not|n't)
            |refused\ to\ (talk|accept\ mail\ from)|administrative(ly)?\ prohibi
            |unauthenticated\ (e?mail|sender)
            |does\ not\ meet\b.{0,40}authentication|suspicious\ due\ to\ the|gesperrt.{0,20}(ip
            |server)|\bip\b.{0,30}gesperrt|suspended\ for|schwarze\ liste
            |liste\ noire|lista\ negra|(ip|адрес)\b.{0,40}(заблок|ч[её]рн)|ч[её]рн\w+\ спис|黑名单
            |(IP|域名).{0,12}(拒|禁|封|屏蔽)""",
        ),
    ),
)
FULL = _words(
    r"""(mail\ ?box|inbox|account|user|recipient)\b.{0,40}\b(full|over\ ?(the\ )?(its\ )?(quota
    |storage|limit))
    |(over|out\ of|exceed\w*)\ (the\ |its\ |their\ |your\ |disk\ |mailbox\ |storage\ |allocated\s
    |message\ )*
      (quota|storage|mailbox\ size)|quota\ (is\ )?(exceeded|full|reached)|insufficient\ (disk
      |mailbox|storage)
    |not\ enough\ (disk|storage)|(postfach|mailbox|speicher\w*)\b.{0,30}(voll|[uü]e?berschritten
    |ersch[oö]e?pft)
    |bo[iî]te\b.{0,40}(pleine|satur|quota)|quota\ d[ée]pass|buz[oó]n\b.{0,40}(lleno|llena|cuota
    |excedid)
    |full\ mailbox|mailbox\b.{0,30}\bexceed|mail\ file\b.{0,30}\bexceed
    |limit\ of\ (the|his|its|your)\ mailbox|mailbox\b.{0,30}\blimit\ (is\ |was\ )?(reached|exceeded)
    |exhausted\b.{0,20}storage|too\ many\ messages\ on\ the\ server
    |(casella|caixa|skrzynk\w+|schr[aá]nka|postbus)\b.{0,30}\b(pien[ao]|cheia|(prze)?pe[lł]n|pln[aá]
    |vol\b)
    |(ящик|почт\w*)\b.{0,40}(переполн|полон|заполн)|(邮箱|信箱|邮件空间|容量).{0,8}(已满|满|不足
    |超)|超出.{0,6}容量""",
)
# After the final dot: what the message links to, and not who sends it.
LINKED = _words(
    r"""\b(urls?|uris?|links?)\b.{0,60}(list|block)|\b(uri|sur)bl|content\ restriction""",
)
# Whose quota it is, if "message quota exceeded" may also be said of a mailbox.
SENDS = _words(r"send|submission|submit|outgoing|outbound|envoi|env[ií]|invio|versand")
GONE = _words(
    r"""user\ unknown|unknown\ (user|recipient|address(?!\ error)|mailbox|account|local)
    |recipient\ unknown|recipient\ (verif\w+|validation)\ failed
    |(recipient|mailbox|user|account|address)\b.{0,60}\b((?<!may\ )not|n't|never|cannot\ be)
      \ (be\ )?(found|exist|known)
    |no\ such\ (user|mailbox|recipient|address|account|person|local|e-?mail)|no\ mailbox\ (here|by
    |found)
    |(does|do)\ ?n[o'’]t\ ?t?\ exist|doesn[’']?t\ (exist|have\ an?\ \S+\ account)
    |not\ a\ known\ user
    |(invalid|non-?existent|nonexisting)\ (recipient|mailbox|user|account)|not\ a\ valid\ (mailbox
    |user|recipient)
    |(account|mailbox|user|recipient)\b.{0,40}\b(is|has\ been|was)\ (disabled|closed|deleted
    |deactivated|inactive|terminated|suspended)
    |user\ suspended
    |mailbox\ (disabled|deleted|closed|not\ (present|available\ any)|name\ not\ allowed)
    |account\ (disabled
    |closed|deleted|inactive)
    |no\ longer\ (active|valid|exists?|in\ use|works|available\ here
    |accepts\ e?mail)|unroute?able\ address
    |addressee\ unknown
    |RecipNotFound|RecipientNotFound|mailbox\ unavailable.{0,40}(not\ found|no\ such)
    |(empf[aä]e?nger\w*|benutzer\w*|postfach|adresse|konto)\b.{0,40}(unbekannt|existiert\ nicht
    |nicht\ (gefunden|vorhanden|bekannt|existi)|gel[oö]e?scht|deaktiviert)
    |(unbekannte[rs]?|ung[uü]e?ltige[rs]?)\ (empf[aä]e?nger|benutzer|postfach)
    |(destinataire|utilisateur|adresse|compte|bo[iî]te)\b.{0,60}(inconnu|n['’ ]?existe\ (pas|plus)
    |introuvable|d[ée]sactiv|invalide|ferm[ée])
    |(destinatario|usuario|buz[oó]n|cuenta|direcci[oó]n)\b.{0,50}(desconocid|no\ (existe|encontrad
    |se\ encuentra)|inexistente|deshabilitad|cerrad)
    |<>\W*not\ found|bad[-_\ ]?(recipient|rcptto|address)|addresses\ were\ unknown
    |invalid\ or\ unknown|(deactivated|inactive)\ (mailbox|user|account)|user\ \S{1,40}\ unknown
    |(address|user|mailbox|account)\b.{0,20}\bnot\ (an\ )?active|not\ an\ active\ address
    |not\ our\ customer|no\ (account\ by|mail\ ?box\ available)|no\ one\ at\ this\ address
    |no\ existe\ (dich|es[ea]|est[ea]|el|la)
    |(utente|casella|indirizzo|usu[aá]rio|destinat[aá]rio|caixa|conta|endere[cç]o)\b.{0,50}
      (sconosciut|inesistente|non\ (esiste|trovat|valid)|disabilitat|n[aã]o\ (exist|encontrad)
      |desconhecid|desativad)
    |(u[zż]ytkownik|skrzynka|odbiorca|konto|u[zž]ivatel|schr[aá]nka|adres[aá]t?)\b.{0,40}
      (nie\ istnieje|nieznan|neexistuje|nezn[aá]m|onbekend|bestaat\ niet)
    |niezn\w+\ (odbiorc|u[zż]ytkownik|adres)|nie\ ma\ takiego\ (u[zż]ytkownika|konta|adresu)
    |(gebruiker|ontvanger|postbus|mailbox)\b.{0,30}(onbekend|bestaat\ niet|niet\ gevonden)
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
RESTRICTED = _words(
    r"""recipient\ (address\ )?rejected|AuthRequired|not\ (auth\w+|allowed|permitted)\ to\ send\ to
    |only\ accepts?\ (mail|messages)
    |restricted\ (recipient|distribution)|NotAuthorized|recipient'?s?\b.{0,30}(polic|block|prefer
    |restrict)|(blocked|rejected)\ by\ (the\ )?(recipient|user)
    |(user|domain)\b.{0,60}\bhas\ a\ policy|recipient\ does\ not\ accept
    |\bgroup\b.{0,30}\b(auth|member|post)|may\ post\b|members[- ]only""",
)
LARGE = _words(
    r"""(message|mail|size|content|attachment)\w*\b.{0,40}(too\ (large|big)
    |exceed\w*\b.{0,30}(limit|size|maxim)|maximum\ size)
    |too\ (big|large)|(exceed|over)\w*\b.{0,30}\bsize|nachricht.{0,20}zu\ gro(ß|ss)|trop\ (grand
    |volumineux|gros)
    |demasiado\ grande|слишком\ (большо|велик)|邮件(过大|太大)|exceeds\ the\ limit""",
)
SPAM = _words(
    r"""spam|:blocked\b|access\ denied|unsolicited|\bjunk|\bbulk|virus|malware|\bbanned|垃圾|спам
    |correo\ no\ deseado""",
)
AWAY = _words(
    r"""(recipient|mailbox|user|account)\b.{0,20}\btemporarily\ (unavail|disab|suspend|deactiv)
    |(mailbox|account|user|recipient)\ (is\ )?(currently\ )?(suspend|locked)|invalid\ address
    |suppression\ list|recipient\b.{0,30}\b(suppressed|marked\ as\ inactive)""",
)
