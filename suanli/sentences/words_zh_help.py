"""Chinese for `--help`: of the program, its verbs and their options."""

ZH_HELP = {
    "Jobs on pools of accelerators from many vendors, with usage that can be verified.": (
        "在多厂商加速器资源池上运行作业，用量可核验。"
    ),
    "Install completion for the current shell.": "为当前 shell 安装命令补全。",
    "Show completion for the current shell, to copy it or customize the installation.": (
        "显示当前 shell 的补全脚本，以便复制或自行安装。"
    ),
    "Print JSON for programs; -o yaml: YAML.": "输出供程序使用的 JSON；-o yaml：YAML。",
    "Print JSON for programs.": "输出供程序使用的 JSON。",
    "Profile to use, of those of `suanli login`.": "使用 `suanli login` 存下的哪个配置。",
    "A job's id, the end of its id, or its name; or FIRM/NAME.": "作业的标识、标识的末尾，或名称；或 企业/名称。",
    # Submit and look
    "Submit a job.": "提交作业。",
    "Job file (YAML or JSON); - reads standard input.": "作业文件（YAML 或 JSON）；- 表示读标准输入。",
    "Name of the job, instead of the file's.": "作业名称，代替文件中的。",
    "Project, instead of the file's.": "项目，代替文件中的。",
    "Queue, instead of the file's.": "队列，代替文件中的。",
    "low, normal or high, instead of the file's.": "low、normal 或 high，代替文件中的。",
    "Folder to send along; the job starts in it. .suanliignore says what stays here.": (
        "随作业发送的文件夹，作业在其中启动；.suanliignore 写明不发送的内容。"
    ),
    "Show what happens until the job has ended.": "显示进展，直到作业结束。",
    "List jobs, newest first.": "列出作业，最新的在前。",
    "Only jobs in this state; also live, ended. May repeat.": "只列此状态的作业；也可为 live、ended。可重复。",
    "Only jobs of this project.": "只列此项目的作业。",
    "Only jobs of this queue: its name, or FIRM/NAME.": "只列此队列的作业：队列名，或“企业/队列名”。",
    "Only jobs with NAME=VALUE. May repeat.": "只列带 NAME=VALUE 标签的作业。可重复。",
    "Only jobs of this person or token.": "只列此人或此令牌的作业。",
    "Only jobs of this array: its id or name.": "只列此数组的作业：数组的标识或名称。",
    "submitted, name; with a minus the other way round.": "submitted 或 name；前加减号则反向。",
    "Most jobs shown.": "最多显示多少个作业。",
    "Go on: show them anew when something has happened.": "持续：有变化时重新显示。",
    "Show a job, its attempts and its progress.": "显示作业、它的尝试和进度。",
    "Go on with what happens until the job has ended.": "持续显示进展，直到作业结束。",
    "Also everything that happened to it.": "同时显示它经历的一切。",
    "Say why a job waits, runs where it runs, or ended.": "说明作业为何等待、为何在此运行，或为何结束。",
    "Show who waits in a queue, in which order and why.": "显示队列中谁在等待、顺序及原因。",
    "The queue: its name, or FIRM/NAME.": "队列：队列名，或“企业/队列名”。",
    "Try a job without submitting it: would it fit, on what, when and at what price?": (
        "试算作业而不提交：能否放下、放在哪里、何时、多少钱？"
    ),
    "Of a file with `jobs:`: what would be refused.": "对于含 `jobs:` 的文件：哪些会被拒绝。",
    # Output and events
    "Print a job's output, merged by time; with several processes each line begins with its [rank].": (
        "打印作业输出，按时间合并；有多个进程时每行以 [rank] 开头。"
    ),
    "Go on until the job has ended.": "持续，直到作业结束。",
    "Only this process rank.": "只看此进程序号。",
    "This attempt instead of the newest.": "此次尝试，而不是最新一次。",
    "Begin with so many last lines of each stream.": "从每个流的最后若干行开始。",
    "Only what came since then: 10m, 2h, or a time like 2026-01-31T08:00.": (
        "只看此后的输出：10m、2h，或 2026-01-31T08:00 这样的时间。"
    ),
    "Begin each line with when it reached the control plane.": "每行前加到达控制平面的时间。",
    "Save each stream to a file in this folder; run again, it saves what is new.": (
        "把每个流存为此文件夹中的文件；再次运行时只存新内容。"
    ),
    "Only standard error.": "只看标准错误。",
    "Only standard output.": "只看标准输出。",
    "As it came, control characters included: only where you trust the job.": (
        "原样输出，包括控制字符：仅在信任该作业时使用。"
    ),
    "Print what happened, oldest first.": "打印发生过的事件，最早的在前。",
    "Only this job's events.": "只看此作业的事件。",
    "Go on as they happen.": "持续显示新事件。",
    "Only events with a larger number.": "只看编号更大的事件。",
    "Fetch what a job left in SUANLI_OUTPUT_DIR and in its outputs. Run again, it fetches the rest only.": (
        "取回作业留在 SUANLI_OUTPUT_DIR 和 outputs 中的内容。再次运行时只取其余部分。"
    ),
    "Only these files or folders of the results.": "只取结果中的这些文件或文件夹。",
    "Folder to write to; without it one named as the job.": "写入的文件夹；缺省以作业命名。",
    "Only this task rank.": "只看此任务序号。",
    "Show what there is, and fetch nothing.": "只列出内容，不取回。",
    # Into a job
    "Reach ports of a running job from this machine: a notebook, a dashboard, a model server.": (
        "从本机访问运行中作业的端口：笔记本、面板、模型服务。"
    ),
    "The job names them (`ports: [8888]`). Goes on until Ctrl-C or until the job has ended.": (
        "端口由作业声明（`ports: [8888]`）。持续到 Ctrl-C 或作业结束。"
    ),
    "Port of the job, or LOCAL:PORT for another one here; 0 takes any free one.": (
        "作业的端口，或 LOCAL:PORT 指定本机端口；0 表示任意空闲端口。"
    ),
    "The task rank that listens, instead of the job's.": "在监听的任务序号，代替作业中声明的。",
    "Address to listen on here.": "本机监听的地址。",
    "Open a terminal in a running job, as its user, in its folder, with its devices.": (
        "在运行中的作业里打开终端：以它的用户、在它的文件夹、用它的设备。"
    ),
    "Ends with the command, with the job, or when you type a line feed and ~. (tilde, dot).": (
        "随命令或作业结束；也可在换行后输入 ~.（波浪号加句点）离开。"
    ),
    "What to run; without it a shell.": "要运行的命令；缺省为 shell。",
    "In the allocation of this process rank.": "在此进程序号所在的分配中。",
    # Periods
    "Close a period for good: its statements become entries of the evidence log. Operators.": (
        "永久关闭一个结算期：其结算单成为证据日志的条目。仅限运营方。"
    ),
    "Exit code 0: done. 1: it failed, was refused, or was checked and found wrong. 2: it was typed wrongly, or a file "
    "or a setting that it names cannot be used. 3: verify found nothing wrong, but had no policy. 130: interrupted.": (
        "退出码 0：完成。1：失败、被拒绝，或核验后发现问题。2：输入有误，或所指的文件、设置无法使用。"
        "3：verify 未发现问题，但没有信任策略。130：被中断。"
    ),
    "Beginning: a date or a time, in Asia/Shanghai where it names no zone.": "起点：日期或时间，未写时区则按北京时间。",
    "End, written alike, when all windows up to it are logged.": "终点，写法相同，此前的窗口须已全部入日志。",
    # Changes
    "Ask for jobs to be stopped.": "请求停止作业。",
    "Ids, ends of ids, names; arrays' ids or names for all of their jobs, sweep[3] for one.": (
        "标识、标识末尾或名称；数组的标识或名称代表其全部作业，sweep[3] 代表其中一个。"
    ),
    "Keep jobs from starting, or from starting again.": "挂起作业：不启动，也不再次启动。",
    "Let held jobs start.": "放行被挂起的作业。",
    "Stop running jobs, with their grace for a model checkpoint, and let them wait again.": (
        "停止运行中的作业（留出保存模型检查点的时间），并让其重新排队。"
    ),
    "Change a job's priority, time limit, estimate, deadline or budget.": (
        "更改作业的优先级、时限、预计时长、截止时间或预算。"
    ),
    "low, normal or high.": "low、normal 或 high。",
    "Such as 90m, 12h, 2d; none: no limit. Binds a running attempt, too.": (
        "例如 90m、12h、2d；none：不限。对运行中的尝试也有效。"
    ),
    "How long it will take: 8h; none: unknown.": "预计需要多久：8h；none：未知。",
    "A time like 2026-12-01T08:00, on this machine's clock; none.": (
        "本机时钟的时间，例如 2026-12-01T08:00；或 none。"
    ),
    "What all its attempts may cost, in CNY: 250.00; none: any amount.": (
        "全部尝试的费用上限（元）：250.00；none：不限。"
    ),
    # Usage and its proof
    "Show usage and what it costs, by job and device model.": "按作业和设备型号显示用量与费用。",
    "Beginning: a date or a time, in Asia/Shanghai where it names no zone; absent: of this month.": (
        "起点：日期或时间，未写时区则按北京时间；缺省为本月初。"
    ),
    "End: a date or a time, in Asia/Shanghai where it names no zone; absent: now.": (
        "终点：日期或时间，未写时区则按北京时间；缺省为现在。"
    ),
    "Beginning: a date or a time, in Asia/Shanghai where it names no zone; absent: of the log.": (
        "起点：日期或时间，未写时区则按北京时间；缺省为日志的起点。"
    ),
    "End, written alike; absent: as far as all windows are logged.": "终点，写法相同；缺省为窗口已全部入日志之处。",
    "Where every device's time went; operators and auditors.": "每个设备的时间去向；限运营方和审计方。",
    "Download the evidence of a period: what suanli verify checks.": (
        "下载一个时段的证据，供 suanli verify 核验。"
    ),
    "File to write (ZIP).": "写入的文件（ZIP）。",
    "Replace a file that is there.": "替换已有的文件。",
    "Replace a report that is there.": "替换已有的报告。",
    "Replace files that are there.": "替换已有的文件。",
    "Verify a bundle offline, under your own policy.": "依照您自己的信任策略离线核验证据包。",
    "Draw a random sample for inspection: of a bundle, or with --server of the whole log.": (
        "抽取随机样本供检查：从证据包，或用 --server 从整个日志。"
    ),
    "Watch a log: cosign what only grows.": "见证日志：只对持续增长的日志联署。",
    "Prove that an entry is in the evidence log, and check such a proof.": "证明某条目在证据日志中，并核验此类证明。",
    # What there is
    "Show nodes with their devices, and what is free.": "显示节点及其设备，以及空闲情况。",
    "List device models: what is in the pools, with prices; --all for the whole catalogue.": (
        "列出设备型号：资源池中有的及其价格；--all 为整个目录。"
    ),
    "Also those that nobody here has.": "也列出此处没有的型号。",
    "List pools: devices in all, free and in use by model, and whose queues may use them.": (
        "列出资源池：按型号的设备总数、空闲、使用中，以及可使用的队列。"
    ),
    "List prices in force, in CNY per device-hour, with the programs that support them.": (
        "列出生效中的价格（元/设备小时），以及补贴方案。"
    ),
    "Also versions of the past and of the future.": "也列出过去和将来的版本。",
    "List queues with their pools and quota.": "列出队列及其资源池和配额。",
    "Show quotas: what is held of each, and what may still be taken, own or borrowed.": (
        "显示配额：已占用多少，还可使用多少（自有或借用）。"
    ),
    "Show maintenance windows and advance reservations (suanli apply -f enters them).": (
        "显示维护窗口和预约（用 suanli apply -f 录入）。"
    ),
    "End this entry now; operators.": "立即结束此条目；限运营方。",
    # For operators
    "Place no new tasks on a node.": "不再向节点放置新任务。",
    "The node's name or id.": "节点的名称或标识。",
    "Take new tasks again.": "重新接受新任务。",
    "Make a token with which hosts become nodes, and print it, once.": "创建主机加入用的令牌，只显示一次。",
    "Pool that the hosts join.": "主机加入的资源池。",
    "How many hosts may join with it.": "可供多少台主机使用。",
    "Hours until it expires.": "多少小时后到期。",
    "Apply a configuration file: firms, pools, prices, programs, users.": (
        "应用配置文件：企业、资源池、价格、补贴方案、用户。"
    ),
    "Configuration file (YAML); - reads standard input.": "配置文件（YAML）；- 表示读标准输入。",
    "Say what would change, and change nothing.": "只说明将更改什么，不做更改。",
    "Run the whole control plane on this machine.": "在本机运行整个控制平面。",
    "Run the main job on simulated devices: two firms, a bill, and its proof.": (
        "在模拟设备上运行主要作业：两家企业、一张账单及其证明。"
    ),
    "Rehearse a policy: last month's jobs, or a trace, under other quotas, prices or profiles.": (
        "预演策略：用上月的作业或轨迹，换用其他配额、价格或调度方案。"
    ),
    "At the machine itself: the first operator, join tokens, histories, what would be if.": (
        "在服务器本机上：第一个运营方用户、加入令牌、历史导出、假设分析。"
    ),
    "Show the version of this program.": "显示本程序的版本。",
    # Who you are
    "Sign in, or store an API key; either is tried first and kept for you alone.": (
        "登录，或保存 API 密钥；先试用再保存，且仅您可读。"
    ),
    (
        "Where the server trusts an OpenID Connect issuer, you are given an address and a code for a browser on any"
        " device."
    ): ("服务器信任 OpenID Connect 签发者时，会给出网址和代码，可在任何设备的浏览器中打开。"),
    "URL of the API, for instance https://suanli.example.": "API 的 URL，例如 https://suanli.example。",
    "Name of the profile.": "配置的名称。",
    "File with an API key; else it is asked for, or read from standard input.": (
        "存有 API 密钥的文件；缺省则询问，或读标准输入。"
    ),
    "Ask for an API key, also where people sign in.": "即使可登录，也询问 API 密钥。",
    "Sign in with the browser of this machine, without a code.": "用本机浏览器登录，无需代码。",
    "Sign in at this issuer, where the server trusts several.": "服务器信任多个签发者时，用这一个登录。",
    "Show who you are here.": "显示您在此的身份。",
    "Stored servers and keys: list, use, remove.": "已存的服务器和密钥：列出、选用、删除。",
    "List profiles; the one in use has a star.": "列出配置；当前使用的带星号。",
    "Use a profile from now on.": "从现在起使用某配置。",
    "Forget a profile and its key. The key stays valid: revoke it too when it is not needed.": (
        "删除配置及其密钥。密钥仍有效：不再需要时请一并吊销。"
    ),
    "API keys: list, create, revoke.": "API 密钥：列出、创建、吊销。",
    "List keys that you may revoke, without their texts.": "列出您可吊销的密钥（不含内容）。",
    "Make an API key and print it, once.": "创建 API 密钥，只显示一次。",
    "For whom; absent: for yourself.": "给谁；缺省给自己。",
    "Days until it expires; absent: never.": "多少天后到期；缺省为永不。",
    "What it is good for: read, jobs (and read), or administration (everything).": (
        "用途：read、jobs（含 read），或 administration（全部）。"
    ),
    "End a key at once.": "立即吊销密钥。",
    "Principals: list, create, disable.": "用户：列出、创建、停用。",
    "List principals that you manage.": "列出您管理的用户。",
    "Make a principal. Give it a key with: suanli keys create NAME.": (
        "创建用户。给它密钥：suanli keys create NAME。"
    ),
    "Name, for instance li.wei.": "名称，例如 li.wei。",
    "researcher, firm_administrator, operator or auditor.": "researcher、firm_administrator、operator 或 auditor。",
    "Firm of a researcher or firm administrator.": "研究人员或企业管理员所属的企业。",
    "A program, not a person.": "程序，而不是人。",
    "End every key of a principal at once and for good.": "立即且永久停用用户的全部密钥。",
    # Receipts
    "Receipts: agree with the use of your jobs, or contest it. They become entries of the evidence log.": (
        "回执：认可作业的用量，或提出异议。回执成为证据日志的条目。"
    ),
    "Make your firm's key if there is none, register it, and print the line that an auditor wants of you.": (
        "没有企业密钥时创建它，登记，并打印审计方需要的那一行。"
    ),
    "Your firm's key; absent: firm-key.pem beside your profiles.": "企业密钥；缺省为配置旁的 firm-key.pem。",
    "Ask for a passphrase and encrypt the key's file with it.": "询问口令，并用它加密密钥文件。",
    "List the keys that sign for your firm; auditors and operators: for every firm.": (
        "列出代表企业签署的密钥；审计方和运营方：所有企业的。"
    ),
    "End a key of your firm at once. Receipts that it signed before stand.": (
        "立即吊销企业密钥。它先前签署的回执仍有效。"
    ),
    "Agree with the use of a job: one receipt for each of its allocations that has ended and has none yet.": (
        "认可作业的用量：为每个已结束且尚无回执的分配签署一份。"
    ),
    "Only this allocation (or the end of its id).": "只限此分配（或其标识末尾）。",
    "What it was: pretraining, finetuning, inference, evaluation or other.": (
        "工作类别：pretraining、finetuning、inference、evaluation 或 other。"
    ),
    "Training steps done.": "完成的训练步数。",
    "Tokens trained on.": "训练的词元数。",
    "Digest of the image that ran; by default what the nodes found.": "所运行镜像的摘要；默认为节点所查到的摘要。",
    "A model checkpoint that came of it: its SHA-256 is signed.": "产出的模型检查点：签署其 SHA-256。",
    "Contest the use of a job, or of some of its allocations. A later 'sign --allocation' takes its place.": (
        "对作业或其部分分配的用量提出异议。之后的 sign --allocation 可取代它。"
    ),
    "What is wrong with it, for whoever has to settle it.": "哪里不对，供处理者参考。",
    "List receipts, the newest first, with their places in the evidence log.": (
        "列出回执，最新的在前，并注明在证据日志中的位置。"
    ),
    "Only of this job.": "只限此作业。",
    "Only agreed, or only contested ones.": "只列认可的，或只列有异议的。",
    # Budgets
    "Budgets of projects and firms: list, set, remove.": "项目和企业的预算：列出、设置、移除。",
    "List budgets with what is spent and held of each in this period.": (
        "列出预算，以及本周期内各自已用和占用的金额。"
    ),
    "Set what a project may spend. A job that could cost more than is left waits; what runs goes on.": (
        "设置项目可花费的金额。可能超出余额的作业等待；运行中的作业继续。"
    ),
    "Let a project spend any amount.": "让项目可花费任意金额。",
    "What may be spent, in CNY: 5000.00": "可花费的金额（元）：5000.00",
    "month, year or total: when it is counted anew. Absent: as it is; of a new one, month.": (
        "month、year 或 total：何时重新计数。不写：保持原样；新预算为 month。"
    ),
    "Of this project; absent: of the firm with all of its projects.": (
        "属于此项目；缺省属于企业及其所有项目。"
    ),
    "For operators: whose; absent: your own.": "供运营方：哪家企业；缺省为自己的企业。",
    # Secrets
    "Secrets that jobs name: set, list, delete.": "作业引用的密钥：设置、列出、删除。",
    "Make a secret or replace its value. It is encrypted, and never shown again.": (
        "创建密钥或替换其值。加密保存，不再显示。"
    ),
    "By which jobs name it.": "作业引用它的名称。",
    "Take every byte of this file; absent: standard input, without the newline at its end.": (
        "取此文件的全部字节；缺省读标准输入，去掉末尾换行。"
    ),
    "Of this project only; absent: of the whole firm.": "只属于此项目；缺省属于整个企业。",
    "List the firm's secrets, without their values.": "列出企业的密钥（不含值）。",
    "Forget a secret; jobs that name it do not start any more.": "删除密钥；引用它的作业不再启动。",
    "Its name.": "名称。",
}
