"""Chinese for `--help` of what is a program of its own: verify, sample, witness, proof, and the control plane's."""

ZH_APART_HELP = {
    # Bundles
    "Verify a bundle offline.": "离线核验证据包。",
    "Exit code 0: both questions answered with yes under your policy. 1: something is wrong. 2: it was typed wrongly, "
    "or the bundle or a file that an option names cannot be used. 3: nothing wrong was found, but without a policy "
    "nothing is verified.": (
        "退出码 0：依照您的信任策略，两个问题的答案均为是。1：发现问题。2：输入有误，或证据包、选项所指的文件无法使用。"
        "3：未发现问题，但没有信任策略则一概未经核验。"
    ),
    "Bundle: a ZIP file or a folder.": "证据包：ZIP 文件或文件夹。",
    "Your own policy file (C2SP tlog-policy). Without it nothing is verified.": (
        "您自己的信任策略文件（C2SP tlog-policy）。没有它，什么也得不到核验。"
    ),
    "Log checkpoint that you kept from before, or the auditor's: this log must extend it.": (
        "您先前保存的日志检查点，或审计方的：此日志必须是它的延续。"
    ),
    "Your firm's id: the bundle must be made for this firm alone.": "您的企业标识：证据包必须仅为该企业制作。",
    "Your list of firms' keys, a vkey a line (suanli receipt key): who signs receipts.": (
        "您自己的企业密钥列表，每行一个 vkey（suanli receipt key）：谁签署回执。"
    ),
    "Your own list of devices (CSV: serial, uuid or device_id; vendor, model, from, to): "
    "the register is compared with it.": (
        "您自己的设备清单（CSV：serial、uuid 或 device_id；vendor、model、from、to）：登记册将与其比对。"
    ),
    "Certificates (PEM) of your time-stamping authority's root: the log's stamp is checked.": (
        "您的时间戳机构的根证书（PEM）：用来核验日志的时间戳。"
    ),
    "Proof packet that came back for the sample (needs --sample-after).": "抽样取回的证明包（需要 --sample-after）。",
    "Log checkpoint published after the period closed: it gives the sample's seed.": (
        "结算期关闭之后公布的日志检查点：抽样的种子由它给出。"
    ),
    "How many to draw of each stratum.": "每层抽取多少。",
    "By how much clocks of nodes and controller may differ.": "节点与控制器的时钟最多可差多少。",
    "Also check signatures of windows that the next window of the same key vouches for: slower.": (
        "同一密钥的下一个窗口已为其作保的窗口，也核验签名：较慢。"
    ),
    "Processes to share the work; absent: as is useful.": "分担工作的进程数；缺省则自行选择。",
    "Print the verdict as JSON.": "以 JSON 输出结论。",
    "Also write the report as an HTML page.": "同时把报告写成 HTML 页面。",
    "Of the reports for people: en or zh.": "供人阅读的报告的语言：en 或 zh。",
    "Also write a signed result (a signed note; needs --sign-with).": (
        "同时写出签名的结果（signed note；需要 --sign-with）。"
    ),
    "Folder of your witness, whose key signs the result.": "您的见证者的文件夹，用其密钥签署结果。",
    # Samples
    "Draw a random sample for inspection, under a seed that the operator could not know.": (
        "抽取随机样本供检查，其种子是运营方无法预知的。"
    ),
    "Of a bundle: the request for raw samples is written, and sent with --fetch; the bundle is verified on the way. "
    "The same bundle, seed and size draw the same sample again when the packet comes back: "
    "suanli verify --sample-after ... --sample PACKET.": (
        "从证据包抽样：写出对原始采样的请求，用 --fetch 则同时发送；证据包在此过程中得到核验。"
        "证明包取回后，同样的证据包、种子和数量抽出同样的样本：suanli verify --sample-after ... --sample PACKET。"
    ),
    "With --server no bundle is needed: log entries are drawn, fetched with what opens them and a proof of each under "
    "the seed's log checkpoint, and checked by your policy; so are the raw samples of them that nodes keep. "
    "Exit code 0: all good; 1: something is wrong.": (
        "用 --server 则不需要证据包：抽取日志条目，连同打开它们所需的内容、以及在种子的日志检查点之下的证明一并取回，"
        "并依照您的信任策略核验；节点所保存的相应原始采样也一样。退出码 0：全部正确；1：发现问题。"
    ),
    "Bundle: a ZIP file or a folder; none with --server.": "证据包：ZIP 文件或文件夹；用 --server 时不需要。",
    "Request to write, for the operator; with --server, the packet.": (
        "要写出的请求文件，供运营方；用 --server 时为证明包。"
    ),
    "Draw from the server's whole log, fetch the drawn entries with proofs, check them.": (
        "从服务器的整个日志中抽取，取回抽中的条目及其证明，并核验。"
    ),
    "With --server: how many to draw.": "用 --server 时：抽取多少。",
    "With --server: end of the inspected period, which must have closed: a date or a time, in Asia/Shanghai where it"
    " names no zone.": (
        "用 --server 时：受检时段的结束时间（日期或时间，未写时区则按北京时间），该结算期必须已关闭。"
    ),
    "With --server and --sample-after: raw samples that came back from the nodes.": (
        "用 --server 和 --sample-after 时：从节点取回的原始采样。"
    ),
    "Of a bundle: fetch the raw samples from the server, too, beside the request.": (
        "从证据包抽样时：同时从服务器取回原始采样，存在请求旁边。"
    ),
    "With --server: print JSON for programs.": "用 --server 时：输出供程序使用的 JSON。",
    # Witnesses
    "Run a witness: it cosigns log checkpoints of a ledger, and never two histories of one log.": (
        "运行见证者：它联署账本的日志检查点，绝不为同一日志的两种历史联署。"
    ),
    "Make a witness with a new key; print its verifier key.": "用新密钥创建见证者；打印其核验公钥（vkey）。",
    "Folder of the witness: key, known logs, newest heads.": "见证者的文件夹：密钥、已知日志、最新的日志头。",
    "Name of the witness in notes, such as audit.example/w1.": "见证者在签名中的名称，例如 audit.example/w1。",
    "Verifier key (vkey) of a log to watch.": "要见证的日志的核验公钥（vkey）。",
    "ed25519, or ml-dsa-44, which quantum computers do not break.": "ed25519，或量子计算机无法破解的 ml-dsa-44。",
    "Write the policy file that names the known logs, this witness and its quorum; print its path.": (
        "写出信任策略文件，列明已知日志、此见证者及法定见证者数；打印其路径。"
    ),
    "Verifier key (vkey) of a log to add first.": "先加入的日志的核验公钥（vkey）。",
    "Serve until interrupted.": "提供服务，直到被中断。",
    "Address to listen on.": "监听的地址。",
    "Port; 0 takes a free one.": "端口；0 表示任意空闲端口。",
    # Proofs
    "Proofs that an entry is in the evidence log (C2SP tlog-proof files), made and checked.": (
        "某条目在证据日志中的证明（C2SP tlog-proof 文件）：生成与核验。"
    ),
    "Fetch what is needed of the log and write the proof file.": "取回日志中所需的部分，写出证明文件。",
    "Index of the entry in the log.": "条目在日志中的序号。",
    "The public log: its address, such as https://host/log, or a folder.": (
        "公开日志：其地址，例如 https://host/log，或文件夹。"
    ),
    "Where to write; absent: INDEX.tlog-proof.": "写到哪里；缺省为 INDEX.tlog-proof。",
    "Check a proof offline. Exit code 0: proved under your policy; 1: not; 2: a file cannot be read.": (
        "离线核验证明。退出码 0：依照您的信任策略得到证明；1：没有；2：有文件无法读取。"
    ),
    "The proof file.": "证明文件。",
    "Your own policy file (C2SP tlog-policy): whom you trust.": "您自己的信任策略文件（C2SP tlog-policy）：您信任谁。",
    "The entry's bytes; absent: those that the file brings.": "条目的字节；缺省为文件自带的。",
    # The control plane
    "Suanli's control plane. Settings come from SUANLI_* variables; see each command.": (
        "Suanli 的控制平面。设置来自 SUANLI_* 变量；见各命令。"
    ),
    "Serve REST, event streams and the console.": "提供 REST、事件流和控制台。",
    "Data folder (SUANLI_DATA).": "数据文件夹（SUANLI_DATA）。",
    "Processes that share the port. Default: 1.": "共用端口的进程数。默认：1。",
    "Serve agents over gRPC.": "经 gRPC 服务于节点代理。",
    "Plan and place; one of several leads.": "调度与放置；多个中有一个主导。",
    "Keep the evidence log and rate usage; one of several leads.": "维护证据日志并为用量计价；多个中有一个主导。",
    "Bring the database to this program's schema and its roles to their rights.": (
        "使数据库符合本程序的模式，并授予各角色应有的权限。"
    ),
    "Let the service roles log in with the kept passwords.": "让服务角色可用已保存的密码登录。",
    "Run everything on this machine, with a PostgreSQL of its own unless SUANLI_DATABASE_URL is set.": (
        "在本机运行一切；除非设置了 SUANLI_DATABASE_URL，否则使用自带的 PostgreSQL。"
    ),
    "Port of the API; agents get the two after it. 0: any free ones.": (
        "API 的端口；节点代理用其后的两个。0：任意空闲端口。"
    ),
    "Address to listen on; further ones are names that agents dial.": "监听的地址；其余的是节点代理连接所用的名称。",
    "Length of usage windows; divides 300000.": "用量窗口的长度；须整除 300000。",
    "NAME=URL of a witness; needs a --witness-key.": "见证者的 NAME=URL；需要 --witness-key。",
    "NAME=FILE with the witness's vkey.": "NAME=FILE，文件中有见证者的 vkey。",
    "First of the ports for Prometheus, on loopback: one a process.": (
        "供 Prometheus 的第一个端口，在回环地址上：每个进程一个。"
    ),
    "Processes that serve the API. Default: one for every four processors, four at most.": (
        "提供 API 的进程数。默认：每四个处理器一个，最多四个。"
    ),
    "Check the invariants that the database and the published log can show; status 1 where one is broken.": (
        "检查数据库和已公布的日志所能体现的不变量；有一个被破坏则退出码为 1。"
    ),
    # Demo
    "Run the main job: two firms, three simulated nodes, a bill, and its proof.": (
        "运行主要作业：两家企业、三个模拟节点、一张账单及其证明。"
    ),
    "Leave everything running and print the addresses.": "让一切继续运行，并打印地址。",
    "Length of usage windows; divides 300000. 2000: something to see soon.": (
        "用量窗口的长度；须整除 300000。2000：很快就能看到结果。"
    ),
    "Also write the last picture and the ending as SVG.": "同时把最后的画面和结尾写成 SVG。",
    "Tell the story on standard error, and print its results as JSON.": "经过写到标准错误，结果以 JSON 输出。",
    # Rehearsals
    "Rehearse: the same jobs under the policy as it is and under proposed ones, side by side.": (
        "预演：同样的作业，在现行策略与提议的策略之下并排比较。"
    ),
    "The planner is the one that runs; only the clock is virtual. Reports waits, completion times, use of the devices, "
    "fairness, stops, lost work, domestic share and cost, and says which firms win and which lose.": (
        "调度器就是实际运行的那个；只有时钟是虚拟的。报告等待、完成时间、设备利用、公平性、停止、丢失的工作、"
        "国产占比和费用，并说明哪些企业受益、哪些受损。"
    ),
    "Jobs: a history (.json[.gz], from `suanli admin history`), or a table of jobs (.csv[.gz]).": (
        "作业：历史（.json[.gz]，来自 `suanli admin history`），或作业表（.csv[.gz]）。"
    ),
    "Cluster file (YAML); a history brings its own.": "集群文件（YAML）；历史自带集群。",
    "Which cluster, in a file of several.": "文件中有多个集群时，用哪一个。",
    "A proposed change: quotas, weights, prices, programs as for `suanli apply`; also `profile`, `moves` and `cluster` "
    "(more nodes). Again for more: each is run beside the policy as it is.": (
        "提议的更改：配额、权重、价格、补贴方案，写法同 `suanli apply`；还可有 `profile`、`moves` 和 `cluster`"
        "（更多节点）。可重复：每个都与现行策略并排运行。"
    ),
    "Also under this profile. Again for more.": "也在此调度方案之下运行。可重复。",
    "Of everything that is drawn at random.": "一切随机抽取的种子。",
    "Only so many jobs from the beginning.": "只取开头的若干个作业。",
    "Folder for report.html with Gantt chart and curves.": "存放 report.html（含甘特图和曲线）的文件夹。",
    "Also each firm alone on its nominal quota: is anybody worse off together?": (
        "再让每家企业单独用其额定配额运行：有谁因共用而变差吗？"
    ),
    # What would be if
    "What would be if: plan the present queue as it is and under proposed changes, and change nothing.": (
        "假如：把当前队列按现状和按提议的更改各调度一次，不作任何改动。"
    ),
    "Says which waiting jobs would start now, which running ones would stop for them, when the others would be told to "
    "start, and which firms win and which lose. It reads the database once, in a process of its own.": (
        "说明哪些等待的作业会立即启动，哪些运行中的作业会为其停止，其余作业会被预告何时启动，以及哪些企业受益、"
        "哪些受损。它只读取数据库一次，并在自己的进程中运行。"
    ),
    "A proposed change, as for `suanli simulate`. Again for more: each stands beside the present.": (
        "提议的更改，写法同 `suanli simulate`。可重复：每个都与现状并列。"
    ),
    "How many of the jobs that change most are named.": "列出变化最大的作业多少个。",
    # At the machine itself
    "Create the first operator and print its API key, once.": "创建第一个运营方用户，并打印其 API 密钥，只显示一次。",
    "Name of the operator.": "运营方用户的名称。",
    "Write the key here (0600) and print nothing.": "把密钥写到此处（0600），不打印。",
    "Make another key for a principal whose key was lost.": "为丢失密钥的用户另创建一个密钥。",
    "Export a period's jobs, nodes, queues, prices and programs for a rehearsal: sizes and times, no commands.": (
        "导出一个时段的作业、节点、队列、价格和补贴方案供预演：只含规模和时间，不含命令。"
    ),
    "Where to write it (.json or .json.gz), for `suanli simulate`.": (
        "写到哪里（.json 或 .json.gz），供 `suanli simulate` 使用。"
    ),
    "First moment: a date in Asia/Shanghai, or RFC 3339. None: last month.": (
        "起始时刻：日期（Asia/Shanghai），或 RFC 3339。缺省为上月。"
    ),
    "Moment after the last one, likewise.": "结束时刻（不含），写法相同。",
    "Make a join token for hosts and print it, once.": "创建主机加入用的令牌，只显示一次。",
    "Write the token here (0600) and print nothing.": "把令牌写到此处（0600），不打印。",
    "Make a new key for the secrets of firms, and encrypt all of them with it.": (
        "为各企业的密钥数据创建新的加密密钥，并用它全部重新加密。"
    ),
    "Drop the earlier keys: when no process seals with them any more.": (
        "丢弃先前的加密密钥：须已没有进程用它们加密。"
    ),
    "Print the verifier key of the evidence log, for whoever shall check it: witnesses, auditors, firms.": (
        "打印证据日志的核验公钥（vkey），供要核验它的各方使用：见证者、审计方、企业。"
    ),
}
