"""Chinese for what programs of their own say: the control plane's (simulate, up, demo, admin), and auditors'."""

ZH_APART = {
    # Bundles and samples
    "something that is no ZIP file": "不是 ZIP 文件的内容",
    "a readable ZIP file": "可读的 ZIP 文件",
    "no links": "不含链接",
    "plain files only": "仅含普通文件",
    "give a bundle, or --server": "请给出证据包，或 --server",
    "whom do you trust? Give your own policy file": "您信任谁？请给出您自己的信任策略文件",
    "the seed must come from a log checkpoint": "种子须来自日志检查点",
    "the seed of the sample: give --sample-after": "抽样的种子：请给出 --sample-after",
    "--result and --sign-with go together": "--result 与 --sign-with 须并用",
    "{value}: one of {names}": "{value}：应为以下之一：{names}",
    "Wrote {packet}, {number} bytes: suanli verify --sample-after ... --sample {file} checks it": (
        "已写入 {packet}，{number} 字节：用 suanli verify --sample-after ... --sample {file} 核验"
    ),
    "Wrote {file}: {segments} segments, {devices} devices to visit": (
        "已写入 {file}：{segments} 段，需查看 {devices} 台设备"
    ),
    "the policy does not vouch for this log: {error}": "信任策略不为该日志作保：{error}",
    "{option}: the policy does not vouch for this log: {error}": "{option}：信任策略不为该日志作保：{error}",
    "--since has {first} entries and the seed {size}: nothing lies between": (
        "--since 有 {first} 个条目，种子有 {size} 个：两者之间没有条目"
    ),
    "{state}: {drawn} entries drawn of {size} of {origin}": "{state}：从 {origin} 的 {size} 个条目中抽取 {drawn} 个",
    "GOOD": "正确",
    "NOT GOOD": "发现问题",
    "{proved} entries proved, keys among them; {windows} windows opened and signed by their nodes": (
        "已证明 {proved} 个条目，含密钥；已打开 {windows} 个窗口，均由其节点签名"
    ),
    "{number} proved, and not open to you: they concern others": "{number} 个已证明，但不对您开放：它们涉及他方",
    "want {expected}, found {found}": "应为 {expected}，实为 {found}",
    "Wrote {packet}; the seed is {kept}: --sample-after {again} draws the same again": (
        "已写入 {packet}；种子是 {kept}：--sample-after {again} 会抽出同样的样本"
    ),
    "The nodes' raw samples of {number} segments were checked: {file}": "已核验节点对 {number} 段的原始采样：{file}",
    "Not proved:": "未能证明：",
    "Hashing files": "计算哈希",
    "Rebuilding the tree": "重建树",
    "Reading records": "读取记录",
    "Checking windows": "核验窗口",
    # Proofs and witnesses
    "No proof: {why}": "没有证明：{why}",
    "Not read: {why}": "无法读取：{why}",
    "NOT PROVED: {why}": "未得到证明：{why}",
    "PROVED: entry {index} of {origin}, {size} entries": "已证明：{origin} 的条目 {index}，共 {size} 个条目",
    "seen by {name} at {moment}": "{name} 于 {moment} 见证",
    "Refused: {why}": "已拒绝：{why}",
    "a signed log checkpoint, such as the file checkpoint of a bundle": (
        "已签名的日志检查点，例如证据包中的 checkpoint 文件"
    ),
    "witness {name} on {url}": "见证者 {name}，位于 {url}",
    # Rehearsals
    "seed {number}": "种子 {number}",
    "--output: {path} cannot be made, want a folder that can be": "--output：无法创建 {path}，应为可以创建的文件夹",
    "as-it-is": "现行",
    "All jobs": "全部作业",
    "What was rehearsed": "演练内容",
    "cluster (--cluster)": "集群（--cluster）",
    "change (--change)": "更改（--change）",
    "cluster's name (--cluster-name)": "集群名称（--cluster-name）",
    "profiles (--profile)": "调度方案（--profile）",
    "first jobs alone (--first)": "仅前若干个作业（--first）",
    "each firm alone too (--alone)": "另演练各企业独自的情形（--alone）",
    "version": "版本",
    "seed": "种子",
    "Firms: average wait / completion time / net cost in CNY": "企业：平均等待 / 完成时间 / 净费用（元）",
    "Firms: completion time against alone on their quota": "企业：完成时间，与单独使用自己的配额相比",
    "Who wins and who loses against {base}": "与“{base}”相比，谁受益、谁受损",
    "firm": "企业",
    "under": "策略",
    "completion time": "完成时间",
    "net cost, CNY": "净费用，元",
    "wins": "受益",
    "loses": "受损",
    "mixed": "有得有失",
    "same": "不变",
    "none": "无",
    "jobs": "作业",
    "{jobs} ({number} fit nowhere)": "{jobs}（{number} 个放不下）",
    "never paid for": "始终无预算可付",
    "never start": "始终无法启动",
    "quota_too_small": "超出全部配额",
    "quota_reached": "配额已用尽",
    "no_such_devices": "可用的池中没有这种设备",
    "gang_too_large": "超出所有池的规模",
    "shape_not_allowed": "该型号不允许这种设备数",
    "no_pool": "队列不能使用任何池",
    "unknown_queue": "没有该队列",
    "devices_unavailable": "设备不可用",
    "{number} jobs": "{number} 个作业",
    "profile": "调度方案",
    "wait, average / p99": "等待，平均 / p99",
    "wait, longest": "等待，最长",
    "completion, average / p99": "完成时间，平均 / p99",
    "makespan": "全部完成用时",
    "devices in use": "设备利用率",
    "idle while jobs wait, on nodes partly in use": "有作业等待时，空闲设备中零散的占比",
    "fairness: worst / best firm's slowdown": "公平性：最差 / 最好企业的减速比",
    "worst firm against alone (--alone)": "与单独相比最差的企业（--alone）",
    "stops": "停止次数",
    "work done twice": "重做的工作",
    "time lost to restarts": "重新启动损失的时间",
    "domestic share of compute": "国产算力占比",
    "cost, CNY": "费用，元",
    "subsidies, CNY": "补贴，元",
    "started inside the announced interval": "在预告的区间内启动",
    "{share} % of {number}": "{number} 个中的 {share} %",
    "decision, median / p99": "调度决策，中位数 / p99",
    "jobs that never ran, and of which no run time is known: {number} left out": (
        "从未运行、运行时间未知的作业：略去 {number} 个"
    ),
    "{name}: prices that begin by {moment} count from the beginning": (
        "{name}：最迟于 {moment} 生效的价格从一开始就计"
    ),
    "pictures need matplotlib: install suanli-scheduler[pictures]": (
        "图片需要 matplotlib：请安装 suanli-scheduler[pictures]"
    ),
    "machine code for large clusters is made first, where none is kept yet (some 20 s of CPU, once)": (
        "先为大集群生成机器码（若尚无保存的，约需 20 秒 CPU 时间，仅此一次）"
    ),
    "the server still plans; for the first plan of a large cluster it may make machine code (some 20 s, once)": (
        "服务器仍在计算；大集群的第一次调度可能要先生成机器码（约 20 秒，仅此一次）"
    ),
    "wrote {report}": "已写入 {report}",
    "wrote {report} and {number} pictures": "已写入 {report} 及 {number} 张图片",
    "hours": "小时",
    "minutes": "分钟",
    "seconds": "秒",
    "{unit} since the first arrival": "自首个作业到达起的时间（{unit}）",
    "node, a line for each of its devices": "节点，每台设备一行",
    "{name}: which firm holds what": "{name}：各企业占用的设备",
    "{name}: devices that jobs hold, and jobs that wait and run": "{name}：作业占用的设备，以及等待和运行的作业",
    "all {number}": "全部 {number}",
    "devices": "设备",
    "shorter": "为更短的作业让路",
    "priority": "为更高优先级让路",
    "reclaim": "归还借用的配额",
    "move": "迁移",
    "grow": "扩容",
    "node_failed": "节点故障",
    # What would be if
    "the present at {at}: jobs that run: {running}, that wait: {waiting}": (
        "{at} 的现状：{running} 个作业在运行，{waiting} 个作业在等待"
    ),
    "What this moment would bring": "此刻会怎样",
    "jobs that wait": "等待的作业",
    "of them start now": "其中立即启动",
    "of them get room that others make": "其中由别的作业腾出位置",
    "running jobs that stop": "停止的运行中作业",
    "told start, median / 90 %": "预告的启动，中位数 / 90 %",
    "nobody knows when they start": "无从得知何时启动",
    "devices in use then": "届时占用的设备",
    "cost of an hour then, CNY": "届时每小时的费用，元",
    "Firms: who wins and who loses against {base}": "企业：与“{base}”相比，谁受益、谁受损",
    "start now": "立即启动",
    "room is made": "正在腾位",
    "go on waiting": "继续等待",
    "told start, median": "预告的启动，中位数",
    "CNY an hour": "元/小时",
    "Running jobs that stop: {name}": "停止的运行中作业：{name}",
    "for job": "让给作业",
    "goes on": "何时继续",
    "Jobs that change most: {name}": "变化最大的作业：{name}",
    "why it waits, or waited": "等待（或此前等待）的原因",
    "starts on {model}": "在 {model} 上启动",
    "nobody knows when": "无从得知",
    "{time} from now": "{time} 后",
    "room is made; {time} from now": "正在腾位；{time} 后",
    "queue": "队列",
    # What a rehearsal cannot read
    "{file}: no firms": "{file}：没有企业",
    "{file}: no pods": "{file}：没有 pod",
    "{file}: no nodes": "{file}：没有节点",
    "{file}: no hosts": "{file}：没有主机",
    "{file}: two nodes have one name": "{file}：有两个节点同名",
    "{file}: two hosts have one name": "{file}：有两个主机同名",
    "{file}: no such folder of traces": "{file}：没有这个轨迹文件夹",
    "{file}: no table of jobs that fits {pattern}": "{file}：没有符合 {pattern} 的作业表",
    "{file}: no table that fits {pattern} and has the columns {names}": (
        "{file}：没有符合 {pattern} 且含列 {names} 的表"
    ),
    "{file}: no rates of {kind}": "{file}：没有 {kind} 的速率",
    "{file}: its rates are for {theirs}, and the cluster has {ours}: none of them": (
        "{file}：其中是 {theirs} 的速率，而集群有 {ours}：都不在其中"
    ),
    "a file: of `admin history`, or a table of jobs": "文件：`admin history` 导出的，或作业表",
    "a cluster file: a table of jobs names no nodes": "集群文件：作业表不含节点",
    "files with different names": "名称各不相同的文件",
    "a file that can be read": "可以读取的文件",
    "{number} jobs, each of {least} devices or more": "{number} 个作业，每个至少 {least} 台设备",
    "at least one that the cluster can run ({devices})": "至少一个集群能运行的作业（{devices}）",
    "nothing: {path} describes one cluster": "空值：{path} 只描述一个集群",
    "{file}: queue {queue}: {field} none -> {after}": "{file}：队列 {queue}：{field} 无 -> {after}",
    "{file}: queue {queue}: {field} {before} -> none": "{file}：队列 {queue}：{field} {before} -> 无",
    "{file}: queue {queue}: {field} {before} -> {after}": "{file}：队列 {queue}：{field} {before} -> {after}",
    "{file}: changes nothing here: {names}": "{file}：在此不起作用：{names}",
    "at least one node": "至少一个节点",
    "at least one job that ran": "至少一个运行过的作业",
    "at least one device model": "至少一个设备型号",
    "a shorter period": "更短的时段",
    "JSON as `suanli admin history` writes it": "`suanli admin history` 写出的 JSON",
    "no JSON in line {line}, column {column}": "第 {line} 行第 {column} 列不是 JSON",
    "nested too deeply": "嵌套太深",
    "a number that is too long": "数字过长",
    "--alone changes nothing: no firm has a nominal quota": "--alone 不起作用：没有企业有额定配额",
    "its gzip is broken, or cut off": "其 gzip 已损坏或被截断",
    "no such queue": "没有这个队列",
    "a change file, or a --profile": "更改文件，或 --profile",
    "a pool of a queue (of one in this file under firms, too)": "某个队列的资源池（本文件 firms 之下的队列也算）",
    "a pool of a queue (of one in this file under firms, too): {pools}": (
        "某个队列的资源池（本文件 firms 之下的队列也算）：{pools}"
    ),
    "nothing: jobs of a table have no dates": "留空：作业表中的作业没有日期",
    "a model of the catalogue, or one that stands under models": "目录中的型号，或 models 之下列出的型号",
    "name of a pool": "资源池的名称",
    "beginning of the nodes' names": "节点名称的开头",
    "1 to {number} nodes": "1 到 {number} 个节点",
    'CNY for a device-hour as text, like "2.50"': '每设备小时的元数，写成文本，例如 "2.50"',
    "{file}: no jobs": "{file}：没有作业",
    "{file}: no column {name}": "{file}：没有列 {name}",
    "{file}: no column {name}; it has {names}": "{file}：没有列 {name}；现有 {names}",
    "{file}, line {line}": "{file} 第 {line} 行",
    "{file}: more wrong rows: {number}": "{file}：另有 {number} 行有误",
    "more wrong fields: {number}": "另有 {number} 个字段有误",
    "each job once": "每个作业只出现一次",
    "each firm once": "每家企业只出现一次",
    "a name": "名称",
    "a number from {low} to {high}": "{low} 到 {high} 的数字",
    "{where}, column {name}: {got}, wanted {want}": "{where}，列 {name}：{got}，应为 {want}",
    "{where}: {number} cells, wanted {want} as in the first line": (
        "{where}：{number} 个单元格，应与首行一样为 {want} 个"
    ),
    "{file}: more than {number} lines": "{file}：超过 {number} 行",
    "{file}: a line of more than {number} characters": "{file}：有一行超过 {number} 个字符",
    "{file}: not a CSV table (gzip or plain): {why}": "{file}：不是 CSV 表（gzip 或纯文本）：{why}",
    "{file}: not a table of jobs: it has {found}, wanted the columns {names}": (
        "{file}：不是作业表：现有 {found}，应有列 {names}"
    ),
    "{file}: no table of rates ({names}) beside it or one folder above": (
        "{file}：旁边或上一级文件夹中没有速率表（{names}）"
    ),
    "{file}: job {job}: no rate of {kind} on {number} devices": (
        "{file}：作业 {job}：没有 {kind} 在 {number} 台设备上的速率"
    ),
    "{number} jobs wait, nothing runs, and nothing starts": "{number} 个作业在等待，没有作业运行，也没有作业启动",
    # The control plane on one machine
    "serving": "正在提供服务",
    "agents     enrolment {enrolment}, fleet {fleet}, authority {authority}": (
        "节点代理   注册 {enrolment}，通信 {fleet}，证书机构 {authority}"
    ),
    "data       {folder}": "数据       {folder}",
    "operator   suanli admin init --data {folder}": "运营方     suanli admin init --data {folder}",
    "Ctrl-C stops all of it.": "Ctrl-C 停止全部。",
    "stopped; nothing of it runs any more": "已停止；没有任何部分还在运行",
    "the database refuses: {why}": "数据库拒绝：{why}",
    "the database could not be migrated: {why}": "无法迁移数据库：{why}",
    "PostgreSQL ended with status {status}; starting it again": "PostgreSQL 以状态 {status} 结束；正在重新启动",
    "{why}; next try in {number} s": "{why}；{number} 秒后重试",
    "{name} ended with status {status}; starting it again in {number} s": (
        "{name} 以状态 {status} 结束；{number} 秒后重新启动"
    ),
    "{name} cannot be started: {why}; next try in {number} s": "无法启动 {name}：{why}；{number} 秒后重试",
    "{name} was started again (pid {pid})": "已重新启动 {name}（pid {pid}）",
    "{name} did not stop in {number} s and was killed": "{name} 在 {number} 秒内没有停止，已被强制结束",
    "{folder} is in use by another 'suanli up'": "{folder} 正被另一个 suanli up 使用",
    "cannot listen on {address}: {why}; {what}": "无法监听 {address}：{why}；{what}",
    "choose others with --port (agents get the two after it)": "请用 --port 另选（节点代理用其后的两个端口）",
    "--window-ms must divide {grid} (5 minutes in milliseconds); {number} does not": (
        "--window-ms 须整除 {grid}（5 分钟的毫秒数）；{number} 不能整除"
    ),
    "each --witness NAME=URL needs a --witness-key NAME=FILE, and the other way round": (
        "每个 --witness NAME=URL 需要一个 --witness-key NAME=FILE，反之亦然"
    ),
    "{option} wants NAME=VALUE, not {text}": "{option} 应为 NAME=VALUE，而不是 {text}",
    "BROKEN: {what} ({number} exceptions)": "被破坏：{what}（{number} 处例外）",
    "BROKEN: {what}": "被破坏：{what}",
    "{rules} rules checked, {number} broken": "已检查 {rules} 条规则，{number} 条被破坏",
    # At the machine itself
    "there is an operator already; operators make further keys": "已有运营方用户；更多密钥由运营方创建",
    "--from and --to: give both, or neither for the last month": "--from 和 --to：请都给出，或都不给（即上月）",
    "SUANLI_DATABASE_URL is not set, and {folder} holds no installation: run 'suanli up' there, or name the database": (
        "未设置 SUANLI_DATABASE_URL，且 {folder} 中没有安装：请在那里运行 'suanli up'，或指明数据库"
    ),
    "wrote {number} jobs to {file}": "已将 {number} 个作业写入 {file}",
    "{number} secrets are encrypted with a new key; give {path} to every api and gateway": (
        "{number} 个密钥已用新的加密密钥加密；请把 {path} 交给每个 api 和 gateway"
    ),
    "{path} is not there: 'suanli up' makes it, or name its data folder with --data": (
        "没有 {path}：suanli up 会创建它，或用 --data 指明数据文件夹"
    ),
    "{error}; make another with 'suanli admin operator-key'": "{error}；请用 suanli admin operator-key 另创建一个",
    # The demo
    "1. A Python with PyTorch, for the job alone": "1. 仅供作业使用、带 PyTorch 的 Python",
    "2. One machine's worth of Suanli": "2. 一台机器上的 Suanli",
    "3. Two firms submit": "3. 两家企业提交作业",
    "4. What each firm used, and what it costs": "4. 每家企业用了多少，费用多少",
    "5. The proof": "5. 证明",
    "What to try next": "接下来可以试什么",
    "Still running (--keep)": "仍在运行（--keep）",
    "Interrupted; stopping everything that was started ...": "已中断；正在停止已启动的一切……",
    "The demo failed: {why}": "演示失败：{why}",
    "PyTorch: {source} ({path})": "PyTorch：{source}（{path}）",
    "Making {folder} for PyTorch with {python} ...": "正在用 {python} 为 PyTorch 创建 {folder}……",
    "Installing the CPU build of PyTorch from the configured index (about 200 MB) ...": (
        "正在从已配置的软件源安装 PyTorch 的 CPU 版（约 200 MB）……"
    ),
    "No index that pip is set up with has a CPU build of PyTorch, so the default build is installed, with libraries "
    "for GPUs that this demo does not use: about 3 GB to fetch and 5 GB on disk; a minute or two, only this once "
    "(PIP_EXTRA_INDEX_URL may name an index of CPU builds: about 200 MB) ...": (
        "pip 所配置的软件源中没有 PyTorch 的 CPU 版，因此安装默认版，含本演示用不到的 GPU 库：下载约 3 GB，占盘 5 GB；"
        "一两分钟，仅此一次（可用 PIP_EXTRA_INDEX_URL 指定 CPU 版的软件源：约 200 MB）……"
    ),
    "Not root: tasks cannot run as a user of their firm, so the windows will say `isolation: none`.": (
        "不是 root：任务不能以其企业的用户运行，因此窗口会写明 `isolation: none`。"
    ),
    "The job's interpreter or folder is closed to other users, so its tasks run as the agent's own user and the "
    "windows will say `isolation: none`.": (
        "作业的解释器或文件夹不对其他用户开放，因此其任务以节点代理自己的用户运行，窗口会写明 `isolation: none`。"
    ),
    "Starting PostgreSQL, api, gateway, controller, ledger, and a witness with a key of its own ...": (
        "正在启动 PostgreSQL、api、gateway、controller、ledger，以及一个有自己密钥的见证者……"
    ),
    "Two firms, two pools, prices and a sample subsidy program are configured (examples/demo/site.yaml).": (
        "已配置两家企业、两个资源池、价格和一个示例补贴方案（examples/demo/site.yaml）。"
    ),
    "{node} pool {pool} {number} x {model} (simulated)": "{node} 资源池 {pool} {number} x {model}（模拟）",
    "{firm} submitted {name} ({number} devices): {job}": "{firm} 提交了 {name}（{number} 台设备）：{job}",
    "Waiting for the last usage windows to be signed, logged, cosigned and rated ...": (
        "正在等待最后的用量窗口得到签名、记入日志、联署和计价……"
    ),
    "These had to be killed: {names}": "以下进程只能强制结束：{names}",
    "The output of every process is in {folder}": "各进程的输出在 {folder}",
    "Queue and placement": "队列与放置",
    "Training": "训练",
    "Devices (simulated)": "设备（模拟）",
    "Evidence log: {number} entries, newest log checkpoint {state}": (
        "证据日志：{number} 个条目，最新的日志检查点{state}"
    ),
    "cosigned by the witness": "已由见证者联署",
    "waiting for the witness": "等待见证者",
    "step {step} of {number}": "第 {step} 步，共 {number} 步",
    "on {nodes}": "在 {nodes}",
    "job": "作业",
    "state": "状态",
    "where": "位置",
    "why": "原因",
    "device model": "设备型号",
    "requested": "申请",
    "live": "存活",
    "worked": "工作",
    "to pay": "应付",
    "idle": "空闲",
    "faulty": "故障",
    "unknown": "未知",
    "{firm} ({name}), simulated devices": "{firm}（{name}），模拟设备",
    "All device time, {number} devices: {sum} = {parts}": "全部设备时间，{number} 台设备：{sum} = {parts}",
    "requested: devices x time limit; held: given to the job; live: a process of it ran; worked: it was busy": (
        "申请：设备数 x 时限；占用：分配给作业；存活：有该作业的进程；工作：忙"
    ),
    "The newest log checkpoint (origin, size, root; signed by the log, cosigned by the witness):": (
        "最新的日志检查点（来源、大小、根；由日志签名，由见证者联署）："
    ),
    "make demo DEMO=--keep     leaves all this running and prints the addresses": (
        "make demo DEMO=--keep     让这一切继续运行，并打印地址"
    ),
    "make test                 runs every check and test": "make test                 运行全部检查与测试",
    "README.md                 how to run Suanli for real, and submit a job of your own": (
        "README.zh-CN.md           如何真正运行 Suanli，并提交自己的作业"
    ),
    "examples/finetune         the job that you just saw": "examples/finetune         您刚才看到的作业",
    "As the operator:": "以运营方的身份：",
    "As the auditor:": "以审计方的身份：",
    "Ctrl-C stops everything.": "Ctrl-C 停止一切。",
}
