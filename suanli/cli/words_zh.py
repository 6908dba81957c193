"""Chinese for `words`: the English of the code is the key."""

ZH = {
    "Submitted {name}: {job_id}": "已提交 {name}:{job_id}",
    "Submitted array {name} of {jobs} jobs: {array_id}": "已提交数组 {name}(共 {jobs} 个作业):{array_id}",
    "Submitted {jobs} jobs.": "已提交 {jobs} 个作业。",
    "Follow it with: suanli logs -f {name}": "查看输出:suanli logs -f {name}",
    "Open {address} in a browser and enter the code {code}": "请用浏览器打开 {address} 并输入代码 {code}",
    "Sign in with your browser; if none opens, open {address}": "请用浏览器登录;若没有打开,请访问 {address}",
    "{server} trusts no issuer: leave out --browser and store an API key": (
        "{server} 不信任任何签发者:请去掉 --browser 并保存 API 密钥"
    ),
    "nobody signed in in time: run suanli login again": "没有人及时登录:请再次运行 suanli login",
    "the address was opened twice, the second time not by the browser of the first: "
    "where that was not you, somebody else on this machine tried to take part; run suanli login again": (
        "该地址被打开了两次,第二次不是第一次的浏览器:若不是您本人,则本机上有其他人试图介入;请再次运行 suanli login"
    ),
    "{issuer} did not let you in: {why}": "{issuer} 不允许登录:{why}",
    "or open {address}": "或打开 {address}",
    "Waiting for you (at most {minutes} minutes; Ctrl-C ends it) ...": (
        "正在等待登录(最多 {minutes} 分钟;Ctrl-C 结束)……"
    ),
    "Closed {begin} to {end} at log size {size}": "已在日志大小 {size} 处关闭 {begin} 至 {end}",
    "{firm}: {amount} CNY, statement {digest}...": "{firm}:{amount} 元,结算单 {digest}……",
    "What is logged of it later is a correction. suanli bundle of just this period shows these statements": (
        "此后记入日志的属于该期的内容均为更正。仅含该期的 suanli bundle 会给出这些结算单"
    ),
    "No jobs.": "没有作业。",
    "Nothing waits.": "没有排队的作业。",
    "Asked for {name} ({job_id}) to be stopped; it is {state} now.": "已请求停止 {name}({job_id});当前状态:{state}。",
    "Asked for the {jobs} jobs of array {array_id} to be stopped.": "已请求停止数组 {array_id} 的 {jobs} 个作业。",
    "{name} ({job_id}) is held: it does not start before suanli release.": (
        "{name}({job_id})已挂起:执行 suanli release 之前不会启动。"
    ),
    "{name} ({job_id}) is released.": "{name}({job_id})已放行。",
    "{name} ({job_id}) is stopped and queued again.": "{name}({job_id})将停止并重新排队。",
    "The {jobs} jobs of array {array_id} are held.": "数组 {array_id} 的 {jobs} 个作业已挂起。",
    "The {jobs} jobs of array {array_id} are released.": "数组 {array_id} 的 {jobs} 个作业已放行。",
    "{name} ({job_id}) has revision {revision} now.": "{name}({job_id})当前为第 {revision} 版。",
    "It would run {change}": "即可运行:{change}",
    "It would run if: {change}": "满足以下条件即可运行:{change}",
    "{file} is a valid job.": "{file} 是有效的作业。",
    "It would start now on {model} in pool {pool}.": "现在即可在资源池 {pool} 的 {model} 上启动。",
    "It starts between {earliest} and {latest} (80 %), most likely about {expected}.": (
        "预计在 {earliest} 至 {latest} 之间启动(80 %),最可能约 {expected}。"
    ),
    "It would wait at place {place} of its queue:": "将在队列中排第 {place} 位:",
    "It starts by {moment} at the latest.": "最迟于 {moment} 启动。",
    "Secret {name} is set ({bytes} bytes).": "密钥 {name} 已设置({bytes} 字节)。",
    "Secret {name} is deleted.": "密钥 {name} 已删除。",
    "No budgets: every project may spend any amount.": "没有预算:各项目可花费任意金额。",
    "Spent: the most that can be charged so far. Held: what running jobs, and those that were stopped for others, "
    "may still cost.": "已用:至今最多可计费的金额。占用:运行中的作业,以及为其他作业让出设备的作业,还可能花费的金额。",
    "{name} has {left} CNY left of {amount}.": "{name} 的 {amount} 元中还剩 {left} 元。",
    "{name} may spend any amount.": "{name} 可花费任意金额。",
    "say whose budget: --firm NAME": "请说明是谁的预算:--firm 企业",
    "No secrets: suanli secret set NAME": "没有密钥:suanli secret set NAME",
    "MODEL": "型号",
    "CNY/DEVICE-HOUR": "元/卡时",
    "CNY/HOUR": "元/小时",
    "ESTIMATE": "预计",
    "AT MOST": "最多",
    "JOB": "作业",
    "FIRM": "企业",
    "NAME": "名称",
    "STATE": "状态",
    "DEVICES": "设备",
    "PROGRESS": "进度",
    "AGE": "提交于",
    "PLACE": "位置",
    "PRIORITY": "优先级",
    "BY": "提交者",
    "WHY": "原因",
    "ATTEMPT": "尝试",
    "TASK": "任务",
    "NODE": "节点",
    "PHASE": "阶段",
    "EXIT": "退出码",
    "DETAIL": "说明",
    "TIME": "时间",
    "EVENT": "事件",
    # Headings
    "POOL": "资源池",
    "HELD": "占用",
    "FAULTY": "故障",
    "ISOLATION": "隔离",
    "DEVICE MODEL": "设备型号",
    "FREE": "空闲",
    "IN USE": "使用中",
    "NOT USABLE": "不可用",
    "QUEUE": "队列",
    "QUEUES": "队列",
    "VOLUMES": "存储卷",
    "POOLS": "资源池",
    "QUOTA": "配额",
    "WEIGHT": "权重",
    "COHORT": "队列组",
    "OF": "所属",
    "BUDGET OF": "预算所属",
    "PERIOD": "周期",
    "SPENT": "已用",
    "LEFT": "剩余",
    "month": "月",
    "year": "年",
    "total": "总额",
    "UNTIL, {zone}": "结束于,{zone}",
    "NOMINAL": "额定",
    "AVAILABLE": "可用",
    "BORROWS AT MOST": "最多借入",
    "LENDS AT MOST": "最多借出",
    "FOR": "用途",
    "FROM": "开始",
    "UNTIL": "结束",
    "NODES": "节点",
    "VENDOR": "厂商",
    "MEMORY": "显存",
    "SINCE": "生效时间",
    "SUPPORT": "补贴",
    "IN FORCE": "生效中",
    "PRICE ID": "价格标识",
    "PROGRAM": "补贴项目",
    "VERSION": "版本",
    "AT MOST CNY": "上限(元)",
    "TITLE": "标题",
    "KIND": "种类",
    "DIFFERENCE": "变更",
    "PROFILE": "配置",
    "SERVER": "服务器",
    "OPENED BY": "凭证",
    "KEY": "密钥",
    "PRINCIPAL": "主体",
    "SCOPE": "范围",
    "CREATED": "创建于",
    "CREATED, {zone}": "创建于,{zone}",
    "EXPIRES": "到期",
    "REVOKED": "吊销于",
    "ROLE": "角色",
    "SIGNS IN AT": "登录方",
    "DISABLED": "已停用",
    "PROJECT": "项目",
    "BYTES": "字节",
    "SET BY": "设置者",
    "SET AT, {zone}": "设置于,{zone}",
    "PATH": "路径",
    "SIZE": "大小",
    "RECEIPT": "回执",
    "ALLOCATION": "分配",
    "STANCE": "立场",
    "SIGNED": "签署于",
    "LOG INDEX": "日志序号",
    "REASON": "理由",
    "BILLED": "计费",
    "LIVE": "存活",
    "WORKED": "工作",
    "CNY": "元",
    "ENROLLED": "登记",
    "ALLOCATED": "已分配",
    "IDLE": "空闲",
    "RESERVED": "预留",
    "MAINTENANCE": "维护",
    "UNKNOWN": "未知",
    "WEBHOOK": "回调",
    "TOLD": "通知",
    "ATTEMPTS": "次数",
    "PROBLEM": "问题",
    # Labels
    "Job": "作业",
    "Name": "名称",
    "State": "状态",
    "Reason": "原因",
    "Detail": "说明",
    "Exit code": "退出码",
    "Firm, project": "企业,项目",
    "Queue": "队列",
    "Gang": "任务组",
    "Device model": "设备型号",
    "Attempt": "尝试",
    "Progress": "进度",
    "Tokens": "词元",
    "Model checkpoint": "模型检查点",
    "Submitted": "提交",
    "Started": "开始",
    "Ended": "结束",
    "Times in": "时区",
    "Cost": "费用",
    "To its end": "至结束",
    "Budget": "预算",
    "Role": "角色",
    "Firm": "企业",
    "Firm id": "企业标识",
    "Projects": "项目",
    "Server": "服务器",
    "Total": "合计",
    "Net": "净额",
    "all": "全部",
    # States and other words of ours in tables and labels
    "queued": "排队",
    "allocated": "已分配",
    "running": "运行中",
    "stopping": "停止中",
    "succeeded": "成功",
    "failed": "失败",
    "cancelled": "已取消",
    "{state} (cancel requested)": "{state}(已请求取消)",
    "connected": "已连接",
    "silent": "无响应",
    "lost": "失联",
    "{state}, cordoned": "{state},已封锁",
    "preempted": "被抢占",
    "requeued": "重新排队",
    "pending": "等待",
    "preparing": "准备中",
    "ready": "就绪",
    "stopped": "已停止",
    "ended": "已结束",
    "reserved": "已预留",
    "delivered": "已送达",
    "waiting": "等待中",
    "given up": "已放弃",
    "low": "低",
    "normal": "普通",
    "high": "高",
    "yes": "是",
    "completed": "正常完成",
    "exited": "已退出",
    "exited_nonzero": "以非零退出码结束",
    "out_of_memory": "内存不足",
    "prepare_failed": "准备失败",
    "image_failed": "无法获取镜像",
    "time_limit": "到达时限",
    "node_lost": "节点失联",
    "task_lost": "任务丢失",
    "deadline": "到达截止时间",
    "budget_exhausted": "预算用尽",
    "dependency_failed": "所依赖的作业未成功",
    "exit code {number}": "退出码 {number}",
    "{what} (simulated)": "{what}(模拟)",
    "no limit": "不限",
    "no price": "无价格",
    "agreed": "认可",
    "contested": "有异议",
    "created": "新建",
    "changed": "已更改",
    "maintenance": "维护",
    "{number} CNY": "{number} 元",
    "{held} CNY at most, {charged} charged so far": "最多 {held} 元,已计费 {charged} 元",
    "{amount} CNY more, {basis}": "还需 {amount} 元,{basis}",
    "by its progress": "按进度",
    "by its estimate": "按预计",
    "at most, by its time limit": "按时限的上限",
    "{queue}, priority {priority}": "{queue},优先级 {priority}",
    "{tasks} x {devices} devices": "{tasks} x {devices} 个设备",
    "{moment} by {who}": "{moment},{who}",
    "{rate} of billed use": "计费用量的 {rate}",
    "{rate} of live use": "存活用量的 {rate}",
    "{rate} of worked use": "工作用量的 {rate}",
    # Nothing to show
    "No devices yet (--all shows the catalogue).": "还没有设备(--all 显示目录)。",
    "No pools that your queues use.": "您的队列没有可用的资源池。",
    "No prices: use costs nothing.": "没有价格:使用不收费。",
    "No nodes run tasks of yours.": "没有节点在运行您的任务。",
    "No nodes yet: suanli join-token POOL lets a host join.": "还没有节点:用 suanli join-token POOL 让主机加入。",
    "There are more than these {number} jobs: --limit shows more.": "作业不止这 {number} 个:用 --limit 显示更多。",
    "No job of array {array_id} was changed: they have ended, or it was asked for before.": (
        "数组 {array_id} 没有作业被改动:它们已结束,或此前已请求过。"
    ),
    "{name} ({job_id}) is held: its attempt goes on, and no other starts before suanli release.": (
        "{name}({job_id})已挂起:当前尝试继续运行,在 suanli release 之前不再启动新的尝试。"
    ),
    "{name} is an array of {jobs} jobs; this is {label} of it (all: suanli jobs --array {array_id}).": (
        "{name} 是含 {jobs} 个作业的数组;此处是其中的 {label}(全部:suanli jobs --array {array_id})。"
    ),
    "No queues.": "没有队列。",
    "No quotas: every queue may hold what is free.": "没有配额:各队列可占用全部空闲设备。",
    "Nothing is planned.": "没有安排。",
    "No usage.": "没有用量。",
    "No devices.": "没有设备。",
    "No receipts.": "没有回执。",
    "No keys: suanli receipt key": "没有密钥:suanli receipt key",
    "No profiles yet: suanli login SERVER": "还没有配置:suanli login SERVER",
    # What was done
    "You are {who}. Stored as profile {name} in {path}.": "您是 {who}。已存为配置 {name}({path})。",
    "{name}, {role} of {firm}": "{name},{firm} 的{role}",
    "{name}, {role}": "{name},{role}",
    "Profile {name} is used from now on.": "从现在起使用配置 {name}。",
    "Profile {name} is forgotten.": "配置 {name} 已删除。",
    "Key {key} of {who}; it is shown this once:": "{who} 的密钥 {key};只显示这一次:",
    "Key {key} is revoked.": "密钥 {key} 已吊销。",
    "Made {role} {name}.": "已创建{role} {name}。",
    "{name} is disabled.": "{name} 已停用。",
    "{number} would change, {unchanged} as they were.": "{number} 项将更改,{unchanged} 项不变。",
    "{number} changed, {unchanged} as they were.": "{number} 项已更改,{unchanged} 项不变。",
    "{node} takes new tasks again.": "{node} 重新接受新任务。",
    "{node} takes no new tasks; what runs goes on.": "{node} 不再接受新任务;已在运行的继续。",
    "{name} is over.": "{name} 已结束。",
    "Sent {folder}: {files} files, {size}, of which {fresh} were new": (
        "已发送 {folder}:{files} 个文件,{size},其中新内容 {fresh}"
    ),
    "{files} files, {size}, in {folder}": "{files} 个文件,{size},位于 {folder}",
    "{files} files in {folder}, {bytes} bytes of them new": "{folder} 中 {files} 个文件,新增 {bytes} 字节",
    "Wrote {output} ({bytes} bytes). Check it with: suanli verify {file} --policy POLICY": (
        "已写入 {output}({bytes} 字节)。校验:suanli verify {file} --policy POLICY"
    ),
    "http://{here} is port {port} of the job": "http://{here} 即作业的端口 {port}",
    "the job has {state}": "作业已{state}",
    "Registered. Give this line to your auditor yourself (suanli verify --firm-keys):": (
        "已登记。请自行把这一行交给审计员(suanli verify --firm-keys):"
    ),
    "The key is in {path}. Keep a copy: whoever has it signs for your firm.": (
        "密钥在 {path}。请备份:持有它的人即可代表企业签署。"
    ),
    "Nothing to sign: no allocation of it has ended without a receipt.": "没有可签署的:已结束的分配都有回执。",
    "{from} to {to}, {zone}; evidence log of {size} entries": "{from} 至 {to},{zone};证据日志共 {size} 条",
    "Usage without a price in force costs nothing.": "没有生效价格的用量不收费。",
    "Times are device-hours. Held: given to the job; billed: in use; live: with a process of it; worked: busy.": (
        "时间单位为卡时。占用:分配给作业;计费:在用;存活:有该作业的进程;工作:忙。"
    ),
    "Device-hours. Every device-second is in exactly one bucket; unknown is never billed.": (
        "单位为卡时。每一卡秒只属于一类;未知从不计费。"
    ),
    "{verb} needs the control plane, and only the client is installed here: {advice}": (
        "{verb} 需要控制平面,而这里只安装了客户端:{advice}"
    ),
    "install suanli-scheduler[embedded], or run it where the control plane is": (
        "请安装 suanli-scheduler[embedded],或在控制平面所在的机器上运行"
    ),
    # Following
    "-- {name} has its devices": "-- {name} 已得到设备",
    "-- {name} runs": "-- {name} 开始运行",
    "-- {name} is asked to make room, and goes on later": "-- {name} 需让出设备,稍后继续",
    "-- {name} is tried again": "-- {name} 重新尝试",
    "-- {name} succeeded": "-- {name} 成功",
    "-- {name} failed": "-- {name} 失败",
    "-- {name} was cancelled": "-- {name} 已取消",
    "-- {name} is asked to stop": "-- {name} 已请求停止",
    "The job goes on.": "作业继续运行。",
    "Come back with: suanli logs -f {job}    Stop it with: suanli cancel {name}": (
        "再次查看:suanli logs -f {job}    停止:suanli cancel {name}"
    ),
    "the output is incomplete: a node was lost before it had sent all of it": (
        "输出不完整:某个节点在发完之前失联"
    ),
    "the events cannot be followed: {error}": "无法跟踪事件:{error}",
    # What is wrong here
    "there is no queue {queue} (there are: {names})": "没有队列 {queue}(现有:{names})",
    "none yet": "尚无",
    "{server} does not trust {issuer} (it trusts: {known})": "{server} 不信任 {issuer}(它信任:{known})",
    "API keys alone": "仅 API 密钥",
    "{server} trusts several issuers: choose with --issuer, one of {known}": (
        "{server} 信任多个签发者:请用 --issuer 选择:{known}"
    ),
    "--key-file: {file} cannot be read ({error})": "--key-file:无法读取 {file}({error})",
    "{file}: want `jobs:` with a list of jobs, and perhaps `atomic: false` beside it": (
        "{file}:应有 `jobs:` 及作业列表,旁边可有 `atomic: false`"
    ),
    "{path} holds no Ed25519 key": "{path} 中没有 Ed25519 密钥",
    "{path} is your firm's key and others can read it: run chmod 600 {file}": (
        "{path} 是企业密钥且他人可读:请运行 chmod 600 {file}"
    ),
    "there is no {path}: make and register a key with 'suanli receipt key'": (
        "没有 {path}:请用 suanli receipt key 创建并登记密钥"
    ),
    "{path} cannot be read as a private key in PEM: {error}": "无法将 {path} 读作 PEM 私钥:{error}",
    "you belong to no firm: a firm's own administrator registers its key": (
        "您不属于任何企业:企业密钥由企业自己的管理员登记"
    ),
    "line {line}: {sentence}": "第 {line} 行:{sentence}",
    "a key must be one word": "键必须是一个词",
    "warning: {server} is not HTTPS; the API key travels in the clear": (
        "警告:{server} 不是 HTTPS;API 密钥将以明文传输"
    ),
    "the server refused the API key: {error} (suanli login SERVER stores another one)": (
        "服务器拒绝了 API 密钥:{error}(用 suanli login SERVER 存入另一个)"
    ),
    "there is no job {job} (suanli jobs lists them)": "没有作业 {job}(suanli jobs 列出作业)",
    "there is no job {job}; did you mean {near}?": "没有作业 {job};是否想写 {near}?",
    "there is no array {array} (suanli jobs lists jobs)": "没有数组 {array}(suanli jobs 列出作业)",
    "array {array} has no job [{index}]: they are counted from 0": "数组 {array} 没有作业 [{index}]:从 0 开始计数",
    "{number} jobs end in {typed}: type more of the id": "{number} 个作业以 {typed} 结尾:请多输入几位标识",
    "nothing to change: give {options}": "没有要更改的:请给出 {options}",
    "{name} has no results of attempt {attempt} yet: it is {state}": "{name} 第 {attempt} 次尝试还没有结果:{state}",
    "{name} left no files in attempt {attempt}, or they are kept no longer": (
        "{name} 第 {attempt} 次尝试没有留下文件,或已不再保留"
    ),
    "the results hold no such file (suanli fetch --list shows what there is)": (
        "结果中没有该文件(suanli fetch --list 列出内容)"
    ),
    "--download saves whole streams: {advice}": "--download 保存完整输出:{advice}",
    "leave out --follow, --timestamps, --tail and --since": "请去掉 --follow、--timestamps、--tail 和 --since",
    "--rank: got {rank}, want one of the job's {processes} processes, counted from 0": (
        "--rank:收到 {rank},应为该作业 {processes} 个进程之一(从 0 计)"
    ),
    "--attempt: got {attempt}, the newest attempt of {name} is {newest}": (
        "--attempt:收到 {attempt},{name} 最新的尝试是第 {newest} 次"
    ),
    "how long ago, like 10m or 2h, or a time like 2026-01-31T08:00": (
        "多久以前,例如 10m 或 2h,或时间,例如 2026-01-31T08:00"
    ),
    "a date like 2026-01-31, or a time like 2026-01-31T08:00+08:00": (
        "日期,例如 2026-01-31,或时间,例如 2026-01-31T08:00+08:00"
    ),
    "{text} is no port: type PORT or LOCAL:PORT, each at most 65535": (
        "{text} 不是端口:请输入 PORT 或 LOCAL:PORT,均不超过 65535"
    ),
    "cannot listen on {address}: {error}; try 0:{port} for any free port": (
        "无法监听 {address}:{error};可用 0:{port} 选任意空闲端口"
    ),
    "{file}, line {line}: {sentence}": "{file} 第 {line} 行:{sentence}",
    "{file}: not YAML: {problem}": "{file}:不是 YAML:{problem}",
    "not YAML: {problem}": "不是 YAML:{problem}",
    "not UTF-8 text": "不是 UTF-8 文本",
    "the file is empty": "文件是空的",
    "{file}: nested too deeply": "{file}:嵌套过深",
    "{file}: No such file or directory": "{file}:没有这个文件或目录",
    "{file}: Permission denied": "{file}:没有权限",
    "{file}: Is a directory": "{file}:是目录",
    "{file}: holds {kind}, want keys and values like `name: my-job`": (
        "{file}:内容是{kind},应为键和值,例如 `name: my-job`"
    ),
    "aliases (*name) are not allowed; write the value out": "不允许别名(*name);请写出值",
    "{key} is already on line {line}": "{key} 在第 {line} 行已经有了",
    "larger than {number} bytes, the most that the server takes": "超过 {number} 字节,即服务器接受的上限",
    "{folder} is not a folder": "{folder} 不是文件夹",
    "{path} is a link to something that is not there": "{path} 是指向不存在之物的链接",
    "{path} cannot be read: {error}": "无法读取 {path}:{error}",
    "{path} cannot be written: {error}": "无法写入 {path}:{error}",
    "{path} holds API keys and others can read it: run chmod 600 {file}": (
        "{path} 存有 API 密钥且他人可读:请运行 chmod 600 {file}"
    ),
    "no server is known: run 'suanli login SERVER', or set SUANLI_SERVER and SUANLI_API_KEY": (
        "不知道服务器:请运行 suanli login SERVER,或设置 SUANLI_SERVER 和 SUANLI_API_KEY"
    ),
    "SUANLI_SERVER is not set and there is no profile": "未设置 SUANLI_SERVER,也没有配置",
    "no API key: set SUANLI_API_KEY or SUANLI_API_KEY_FILE, or run 'suanli login SERVER'": (
        "没有 API 密钥:请设置 SUANLI_API_KEY 或 SUANLI_API_KEY_FILE,或运行 suanli login SERVER"
    ),
    "the API key does not look like one: sk_ and 43 letters, digits, - or _": (
        "API 密钥的格式不对:应为 sk_ 加 43 个字母、数字、- 或 _"
    ),
    "the server must be an URL like https://suanli.example, not {server}": (
        "服务器应为 https://suanli.example 这样的 URL,而不是 {server}"
    ),
    "there is no profile {name} (there are: {names})": "没有配置 {name}(现有:{names})",
    "cannot reach {server}: {why}": "无法连接 {server}:{why}",
    "{server} answered with HTTP status {status}, but not as a Suanli API does; is the address right?": (
        "{server} 返回 HTTP 状态 {status},但不像 Suanli API;地址对吗?"
    ),
    "nobody entered the code in time: run suanli login again": "没有人及时输入代码:请再次运行 suanli login",
    "your sign-in at {issuer} has ended: run suanli login again": "在 {issuer} 的登录已失效:请再次运行 suanli login",
}
