"""The Chinese of what the command line says is wrong here."""

ZH_REFUSALS = {
    "jobs of {number} firms are called {name}: type one of {names}, or an id": (
        "{number} 个企业有名为 {name} 的作业：请写 {names} 之一，或标识"
    ),
    "none yet": "尚无",
    "the secret is empty: its value is read from standard input, or from the file of --file": (
        "密钥为空：其值从标准输入读取，或从 --file 的文件读取"
    ),
    "{option} {kind} goes after the command": "{option} {kind} 应写在命令之后",
    "json or yaml": "json 或 yaml",
    "{server} does not trust {issuer} (it trusts: {known})": "{server} 不信任 {issuer}（它信任：{known}）",
    "API keys alone": "仅 API 密钥",
    "{server} trusts several issuers: choose with --issuer, one of {known}": (
        "{server} 信任多个签发者：请用 --issuer 选择：{known}"
    ),
    "--key-file: {file} cannot be read ({error})": "--key-file：无法读取 {file}（{error}）",
    "{file}: want `jobs:` with a list of jobs, and perhaps `atomic: false` beside it": (
        "{file}：应有 `jobs:` 及作业列表，旁边可有 `atomic: false`"
    ),
    "{path} holds no Ed25519 key": "{path} 中没有 Ed25519 密钥",
    "{path} is your firm's key and others can read it: run chmod 600 {file}": (
        "{path} 是企业密钥且他人可读：请运行 chmod 600 {file}"
    ),
    "there is no {path}: make and register a key with 'suanli receipt key'": (
        "没有 {path}：请用 suanli receipt key 创建并登记密钥"
    ),
    "{path} does not open with this passphrase": "{path} 无法用此口令打开",
    "{path} cannot be read as a private key in PEM: {error}": "无法将 {path} 读作 PEM 私钥：{error}",
    "you belong to no firm: a firm's own administrator registers its key": (
        "您不属于任何企业：企业密钥由企业自己的管理员登记"
    ),
    "line {line}: {sentence}": "第 {line} 行：{sentence}",
    "a key must be one word": "键必须是一个词",
    "warning: {what}": "警告：{what}",
    "warning: {server} is not HTTPS; the API key travels in the clear": (
        "警告：{server} 不是 HTTPS；API 密钥将以明文传输"
    ),
    "the server refused the API key: {error} (suanli login SERVER stores another one)": (
        "服务器拒绝了 API 密钥：{error}（用 suanli login SERVER 存入另一个）"
    ),
    "there is no job {job} (suanli jobs lists them)": "没有作业 {job}（suanli jobs 列出作业）",
    "there is no job {job}; did you mean {near}?": "没有作业 {job}；是否想写 {near}？",
    "there is no array {array} (suanli jobs lists them)": "没有数组 {array}（suanli jobs 列出作业）",
    "there is no array {array}; did you mean {near}?": "没有数组 {array}；是否想写 {near}？",
    "array {array} has no job [{index}]: they are counted from 0": "数组 {array} 没有作业 [{index}]：从 0 开始计数",
    "{number} jobs end in {typed}: type more of the id": "{number} 个作业以 {typed} 结尾：请多输入几位标识",
    "nothing to change: give one of {options}": "没有要更改的：请给出 {options} 之一",
    "{name} has no results of attempt {attempt} yet: it is {state}": "{name} 第 {attempt} 次尝试还没有结果：{state}",
    "{name} left no files in attempt {attempt}, or they are kept no longer": (
        "{name} 第 {attempt} 次尝试没有留下文件，或已不再保留"
    ),
    "the results hold no such file (suanli fetch --list shows what there is)": (
        "结果中没有该文件（suanli fetch --list 列出内容）"
    ),
    "--download saves whole streams: {advice}": "--download 保存完整输出：{advice}",
    "leave out --follow, --timestamps, --tail and --since": "请去掉 --follow、--timestamps、--tail 和 --since",
    "--rank: got {rank}, want one of the job's {processes} processes, counted from 0": (
        "--rank：收到 {rank}，应为该作业 {processes} 个进程之一（从 0 计）"
    ),
    "--attempt: got {attempt}, the newest attempt of {name} is {newest}": (
        "--attempt：收到 {attempt}，{name} 最新的尝试是第 {newest} 次"
    ),
    "how long ago, like 10m or 2h, or a time like 2026-01-31T08:00": (
        "多久以前，例如 10m 或 2h，或时间，例如 2026-01-31T08:00"
    ),
    "a date like 2026-01-31, or a time like 2026-01-31T08:00+08:00": (
        "日期，例如 2026-01-31，或时间，例如 2026-01-31T08:00+08:00"
    ),
    "{text} is no port: type PORT or LOCAL:PORT, each at most 65535": (
        "{text} 不是端口：请输入 PORT 或 LOCAL:PORT，均不超过 65535"
    ),
    "cannot listen on {address}: {error}; try 0:{port} for any free port": (
        "无法监听 {address}：{error}；可用 0:{port} 选任意空闲端口"
    ),
    "{file}, line {line}: {sentence}": "{file} 第 {line} 行：{sentence}",
    "{file}: not YAML: {problem}": "{file}：不是 YAML：{problem}",
    "not YAML: {problem}": "不是 YAML：{problem}",
    "not UTF-8 text": "不是 UTF-8 文本",
    "the file is empty": "文件是空的",
    "{file}: nested too deeply": "{file}：嵌套过深",
    "{file}: No such file or directory": "{file}：没有这个文件或目录",
    "{file}: Permission denied": "{file}：没有权限",
    "{file}: Is a directory": "{file}：是目录",
    "{file}: holds {kind}, want keys and values like `name: my-job`": (
        "{file}：内容是{kind}，应为键和值，例如 `name: my-job`"
    ),
    "aliases (*name) are not allowed; write the value out": "不允许别名（*name）；请写出值",
    "{key} is already on line {line}": "{key} 在第 {line} 行已经有了",
    "larger than {number} bytes, the most that the server takes": "超过 {number} 字节，即服务器接受的上限",
    "{folder} is not a folder": "{folder} 不是文件夹",
    "{path} is a link to something that is not there": "{path} 是指向不存在之物的链接",
    "{path} cannot be read: {error}": "无法读取 {path}：{error}",
    "{path} cannot be written: {error}": "无法写入 {path}：{error}",
    "{option}: {path} cannot be written: {error}": "{option}：无法写入 {path}：{error}",
    "{option} {path} is the name of a file that is written beside it: give another": (
        "{option} {path} 与同时写入的另一个文件同名：请换一个"
    ),
    "{path} exists: give another {option}, or --force": "{path} 已存在：请换一个 {option}，或用 --force",
    "{path} holds API keys and others can read it: run chmod 600 {file}": (
        "{path} 存有 API 密钥且他人可读：请运行 chmod 600 {file}"
    ),
    "no server is known: run 'suanli login SERVER', or set SUANLI_SERVER and SUANLI_API_KEY": (
        "不知道服务器：请运行 suanli login SERVER，或设置 SUANLI_SERVER 和 SUANLI_API_KEY"
    ),
    "SUANLI_SERVER is not set and there is no profile": "未设置 SUANLI_SERVER，也没有配置",
    "no API key: set SUANLI_API_KEY or SUANLI_API_KEY_FILE, or run 'suanli login SERVER'": (
        "没有 API 密钥：请设置 SUANLI_API_KEY 或 SUANLI_API_KEY_FILE，或运行 suanli login SERVER"
    ),
    "the API key does not look like one: sk_ and 43 letters, digits, - or _": (
        "API 密钥的格式不对：应为 sk_ 加 43 个字母、数字、- 或 _"
    ),
    "the server must be an URL like https://suanli.example, not {server}": (
        "服务器应为 https://suanli.example 这样的 URL，而不是 {server}"
    ),
    "there is no profile {name} (there are: {names})": "没有配置 {name}（现有：{names}）",
    "cannot reach {server}: {why}. Is it running there, and is the address right (suanli profile)?": (
        "无法连接 {server}：{why}。服务器在运行吗？地址对吗（suanli profile）？"
    ),
    "cannot reach {server}: {why}": "无法连接 {server}：{why}",
    "{server} answered with HTTP status {status}, but not as a Suanli API does; is the address right?": (
        "{server} 返回 HTTP 状态 {status}，但不像 Suanli API；地址对吗？"
    ),
    "nobody entered the code in time: run suanli login again": "没有人及时输入代码：请再次运行 suanli login",
    "your sign-in at {issuer} has ended: run suanli login again": "在 {issuer} 的登录已失效：请再次运行 suanli login",
    "your firm's key needs its passphrase: type it, or give it on standard input": (
        "企业密钥需要口令：请输入，或经标准输入给出"
    ),
    "{issuer} offers no sign-in by browser with PKCE (RFC 7636): leave out --browser": (
        "{issuer} 不提供带 PKCE（RFC 7636）的浏览器登录：请去掉 --browser"
    ),
    "{issuer} answered another sign-in than this one": "{issuer} 答复的是另一次登录",
    "{issuer} offers no device sign-in (RFC 8628): ask the operator for an API key instead": (
        "{issuer} 不提供设备登录（RFC 8628）：请改向运营方索取 API 密钥"
    ),
    "{issuer} refused to begin: {why}": "{issuer} 拒绝开始登录：{why}",
    "your sign-in at {issuer} has ended ({why}): run suanli login again": (
        "您在 {issuer} 的登录已结束（{why}）：请再次运行 suanli login"
    ),
    "{issuer} gave no ID token: the scope openid is missing, or it is no OpenID issuer": (
        "{issuer} 没有给出 ID 令牌：缺少 openid 范围，或它不是 OpenID 签发者"
    ),
    "{issuer} does not answer as the issuer that the server named": (
        "{issuer} 的答复与服务器指定的签发者不符"
    ),
    "{url} is not HTTPS: nobody signs in there": "{url} 不是 HTTPS：不能在那里登录",
    "{url} did not answer as an OpenID Connect issuer does": ("{url} 的答复不像 OpenID Connect 签发者"),
    "{url} answered with HTTP status {status}, but not with JSON": (
        "{url} 以 HTTP 状态 {status} 答复，但不是 JSON"
    ),
    "{path} is no regular file; leave it out in {ignore}": ("{path} 不是普通文件；请在 {ignore} 中排除"),
    "{path} is a link to {what}; leave it out in {ignore}, or send it by itself": (
        "{path} 是指向 {what} 的链接；请在 {ignore} 中排除，或单独上传"
    ),
    "{ignore} is not UTF-8: byte {number} cannot be read": (
        "{ignore} 不是 UTF-8：无法读取第 {number} 个字节"
    ),
    "{path} became shorter while it was read; try again": "{path} 在读取时变短了；请重试",
    "{path} changed while it was sent; try again": "{path} 在上传时被更改；请重试",
    "{path} came with other bytes than its hash says; try again": ("{path} 的内容与其哈希不符；请重试"),
    "{server} sent {sent} of {expected} bytes": ("{server} 只发送了 {expected} 字节中的 {sent} 字节"),
    "the server names a file that nobody should write: {why}": ("服务器给出了不应写入的文件：{why}"),
    "{number} files are too many for one folder: the list of them has {bytes} bytes, and {most} are "
    "allowed; leave some out, or pack them into one file": (
        "{number} 个文件对一个文件夹来说太多：其列表有 {bytes} 字节，最多 {most}；请排除一些，或打包成一个文件"
    ),
    "{number} files; {most} are allowed": "{number} 个文件；最多 {most} 个",
    "{number} bytes; {most} are allowed": "{number} 字节；最多 {most}",
    "a name of {number} bytes; {most} are allowed": "名称有 {number} 字节；最多 {most}",
    "the name {name} holds a control character or a backslash": ("名称 {name} 含控制字符或反斜杠"),
    "the algorithm {name} of the package {package} cannot be used: {error}": (
        "无法使用软件包 {package} 的算法 {name}：{error}"
    ),
    "the events cannot be followed: {error}": "无法跟踪事件：{error}",
    "the output is incomplete: a node was lost before it had sent all of it": (
        "输出不完整：有节点在发送完之前丢失"
    ),
    "the session is over: {why}": "会话已结束：{why}",
    "the job cannot be watched any more: {error}": "无法继续查看作业：{error}",
    "the job has ended: {state}": "作业已结束：{state}",
    "--file: {file}: No such file or directory": "--file：没有文件或目录 {file}",
    "--file: {file}: Permission denied": "--file：没有读取 {file} 的权限",
    "--file: {file}: Is a directory": "--file：{file} 是目录",
    "the server's URL holds a user name or password; the API key is given apart": (
        "服务器的 URL 含用户名或密码；API 密钥须另外给出"
    ),
    "a profile's name is 1 to 64 letters, digits, - or _, not {name}": (
        "配置名称为 1 至 64 个字母、数字、- 或 _，而不是 {name}"
    ),
    "the server's URL holds characters that no URL has": "服务器的 URL 含有 URL 中不允许的字符",
    "there is no profile {name}": "没有配置 {name}",
    "the two are not the same: type both again": "两次输入不一致：请重新输入两次",
    "SUANLI_API_KEY_FILE: {file} cannot be read ({error})": "SUANLI_API_KEY_FILE：无法读取 {file}（{error}）",
    # An auditor's own policy
    "a control character": "控制字符",
    "no control character but tab and newline": "制表符和换行符以外没有控制字符",
    "no newline at the end": "末尾没有换行符",
    "each line ended by a newline": "每行以换行符结束",
    "names and URLs without blanks": "不含空格的名称和 URL",
    "a public key that no earlier line has": "前面各行都没有的公钥",
    "a name of its own": "未被使用的名称",
    "no quorum line": "没有 quorum 行",
    "exactly one quorum line": "恰好一个 quorum 行",
    "exactly one": "恰好一个",
    "policy line {number}": "信任策略第 {number} 行",
    "a second quorum line": "第二个 quorum 行",
    "a log, witness, group or quorum line": "log、witness、group 或 quorum 行",
    "names defined earlier, each a member only once": "前面定义过的名称，每个只作一次成员",
    "any, all or a decimal number": "any、all 或十进制数",
    "a name defined on an earlier line, or none": "前面某行定义的名称，或 none",
    # The calendar
}
