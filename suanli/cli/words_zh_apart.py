"""Chinese for what programs of their own say: the control plane's (simulate, up, demo, admin), and auditors'."""

ZH_APART = {
    # Rehearsals
    "seed {number}": "种子 {number}",
    "as-it-is": "现行",
    "All jobs": "全部作业",
    "Firms: average wait / completion time / net cost in CNY": "企业:平均等待 / 完成时间 / 净费用(元)",
    "Firms: completion time against alone on their quota": "企业:完成时间,与单独使用自己的配额相比",
    "Who wins and who loses against {base}": "与“{base}”相比,谁受益、谁受损",
    "firm": "企业",
    "under": "策略",
    "completion time": "完成时间",
    "net cost, CNY": "净费用,元",
    "wins": "受益",
    "loses": "受损",
    "mixed": "有得有失",
    "same": "不变",
    "none": "无",
    "jobs": "作业",
    "{jobs} ({number} fit nowhere)": "{jobs}({number} 个放不下)",
    "never paid for": "始终无预算可付",
    "{number} jobs": "{number} 个作业",
    "profile": "调度方案",
    "wait, average / p99": "等待,平均 / p99",
    "wait, longest": "等待,最长",
    "completion, average / p99": "完成时间,平均 / p99",
    "makespan": "全部完成用时",
    "devices in use": "设备利用率",
    "idle while waiting, on broken nodes": "有作业等待时,空闲设备中零散的占比",
    "fairness: worst / best firm's slowdown": "公平性:最差 / 最好企业的减速比",
    "worst firm against alone (--alone)": "与单独相比最差的企业(--alone)",
    "stops": "停止次数",
    "work done twice": "重做的工作",
    "time lost to restarts": "重新启动损失的时间",
    "domestic share of compute": "国产算力占比",
    "cost, CNY": "费用,元",
    "subsidies, CNY": "补贴,元",
    "started inside the announced interval": "在预告的区间内启动",
    "{share} % of {number}": "{number} 个中的 {share} %",
    "decision, median / p99": "调度决策,中位数 / p99",
    "jobs that never ran, and of which no run time is known: {number} left out": (
        "从未运行、运行时间未知的作业:略去 {number} 个"
    ),
    "pictures need matplotlib: install suanli-scheduler[pictures]": (
        "图片需要 matplotlib:请安装 suanli-scheduler[pictures]"
    ),
    "wrote {report}": "已写入 {report}",
    "wrote {report} and {number} pictures": "已写入 {report} 及 {number} 张图片",
    "hours": "小时",
    "minutes": "分钟",
    "seconds": "秒",
    "{unit} since the first arrival": "自首个作业到达起的时间({unit})",
    "node, a line for each of its devices": "节点,每台设备一行",
    "{name}: which firm holds what": "{name}:各企业占用的设备",
    "{name}: devices that jobs hold, and jobs that wait and run": "{name}:作业占用的设备,以及等待和运行的作业",
    "all {number}": "全部 {number}",
    "devices": "设备",
    # What a rehearsal cannot read
    "a file: of `admin history`, or a table of jobs": "文件:`admin history` 导出的,或作业表",
    "a cluster file: a table of jobs names no nodes": "集群文件:作业表不含节点",
    "files with different names": "名称各不相同的文件",
    "a file that can be read": "可以读取的文件",
    "at least one that the cluster can run": "至少一个集群能运行的作业",
    "at least one node": "至少一个节点",
    "at least one job that ran": "至少一个运行过的作业",
    "at least one device model": "至少一个设备型号",
    "a shorter period": "更短的时段",
    "JSON as `suanli admin history` writes it": "`suanli admin history` 写出的 JSON",
    "no jobs there": "那里没有作业",
    "a model of the catalogue, or one that stands under models": "目录中的型号,或 models 之下列出的型号",
    "name of a pool": "资源池的名称",
    "beginning of the nodes' names": "节点名称的开头",
    "1 to {number} nodes": "1 到 {number} 个节点",
    'CNY for a device-hour as text, like "2.50"': '每卡时的元数,写成文本,例如 "2.50"',
    "{file}: no jobs": "{file}:没有作业",
    "{file}: no column {name}": "{file}:没有列 {name}",
    "{file}: no column {name}; it has {names}": "{file}:没有列 {name};现有 {names}",
    "{file}, line {line}, column {name}: {got}, wanted {want}": "{file} 第 {line} 行,列 {name}:{got},应为 {want}",
    "{file}, line {line}: {number} cells, wanted {want} as in the first line": (
        "{file} 第 {line} 行:{number} 个单元格,应与首行一样为 {want} 个"
    ),
    "{file}: more than {number} lines": "{file}:超过 {number} 行",
    "{file}: a line of more than {number} characters": "{file}:有一行超过 {number} 个字符",
    "{file}: not a CSV table (gzip or plain): {why}": "{file}:不是 CSV 表(gzip 或纯文本):{why}",
    "{file}: not a table of jobs: wanted the columns {names}": "{file}:不是作业表:应有列 {names}",
    "{file}: no table of rates ({names}) beside it or one folder above": (
        "{file}:旁边或上一级文件夹中没有速率表({names})"
    ),
    "{file}: job {job}: no rate of {kind} on {number} devices": (
        "{file}:作业 {job}:没有 {kind} 在 {number} 台设备上的速率"
    ),
    "{number} jobs wait, nothing runs, and nothing starts": "{number} 个作业在等待,没有作业运行,也没有作业启动",
    # The control plane on one machine
    "serving": "正在提供服务",
    "agents     enrolment {enrolment}, fleet {fleet}, authority {authority}": (
        "节点代理   注册 {enrolment},通信 {fleet},证书机构 {authority}"
    ),
    "data       {folder}": "数据       {folder}",
    "operator   suanli admin init --data {folder}": "运营方     suanli admin init --data {folder}",
    "Ctrl-C stops all of it.": "Ctrl-C 停止全部。",
    "stopped; nothing of it runs any more": "已停止;没有任何部分还在运行",
    "the database refuses: {why}": "数据库拒绝:{why}",
    "the database could not be migrated: {why}": "无法迁移数据库:{why}",
    "PostgreSQL ended with status {status}; starting it again": "PostgreSQL 以状态 {status} 结束;正在重新启动",
    "{why}; next try in {number} s": "{why};{number} 秒后重试",
    "{name} ended with status {status}; starting it again in {number} s": (
        "{name} 以状态 {status} 结束;{number} 秒后重新启动"
    ),
    "{name} cannot be started: {why}; next try in {number} s": "无法启动 {name}:{why};{number} 秒后重试",
    "{name} was started again (pid {pid})": "已重新启动 {name}(pid {pid})",
    "{name} did not stop in {number} s and was killed": "{name} 在 {number} 秒内没有停止,已被强制结束",
    "{folder} is in use by another 'suanli up'": "{folder} 正被另一个 suanli up 使用",
    "cannot listen on {address}: {why}; choose others with --port (agents get the two after it)": (
        "无法监听 {address}:{why};请用 --port 另选(节点代理用其后的两个端口)"
    ),
    "--window-ms must divide {grid} (5 minutes in milliseconds); {number} does not": (
        "--window-ms 须整除 {grid}(5 分钟的毫秒数);{number} 不能整除"
    ),
    "each --witness NAME=URL needs a --witness-key NAME=FILE, and the other way round": (
        "每个 --witness NAME=URL 需要一个 --witness-key NAME=FILE,反之亦然"
    ),
    "{option} wants NAME=VALUE, not {text}": "{option} 应为 NAME=VALUE,而不是 {text}",
    "BROKEN: {what} ({number} exceptions)": "被破坏:{what}({number} 处例外)",
    "BROKEN: {what}": "被破坏:{what}",
    "{rules} rules checked, {number} broken": "已检查 {rules} 条规则,{number} 条被破坏",
    # At the machine itself
    "there is an operator already; operators make further keys": "已有运营方主体;更多密钥由运营方创建",
    "--from and --to: give both, or neither for the last month": "--from 和 --to:请都给出,或都不给(即上月)",
    "{option}: {text} is no date like 2026-11-01, and no moment like 2026-11-01T00:00:00+08:00": (
        "{option}:{text} 既不是 2026-11-01 这样的日期,也不是 2026-11-01T00:00:00+08:00 这样的时刻"
    ),
    "--to: wanted a moment after --from": "--to:应晚于 --from",
    "wrote {number} jobs to {file}": "已将 {number} 个作业写入 {file}",
    "{number} secrets are encrypted with a new key; give {path} to every api and gateway": (
        "{number} 个密钥已用新的加密密钥加密;请把 {path} 交给每个 api 和 gateway"
    ),
    "{path} is not there: 'suanli up' makes it, or name its data folder with --data": (
        "没有 {path}:suanli up 会创建它,或用 --data 指明数据文件夹"
    ),
    "{error}; make another with 'suanli admin operator-key'": "{error};请用 suanli admin operator-key 另创建一个",
}
