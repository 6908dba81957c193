"""Chinese for what jobs are told while they wait, and why running work stops: the planner's sentences."""

ZH_WAITING = {
    # Why a job waits, or could never start
    "the nearest possible gang is {gang} as {shape}": "最接近且可行的规模是 {gang}，即 {shape}",
    "the nearest possible gang is {gang} as {shape} with spare_nodes: {spare}": (
        "最接近且可行的规模是 {gang}，即 {shape}，spare_nodes 为 {spare}"
    ),
    "the queue's pools have: {models}": "该队列的资源池有：{models}",
    "{field}: {what} (jobs refused in all: {number})": "{field}：{what}（共拒绝 {number} 个作业）",
    "the job could never start: {why}; {advice}": "该作业永远无法启动：{why}；{advice}",
    "jobs[{number}]: {why}": "jobs[{number}]：{why}",
    "the job could never start: {why}; {more}; {advice}": "该作业永远无法启动：{why}；{more}；{advice}",
    # The parts of reasons that have two, where they stand in the sentence above
    "asks for {nodes} with {wanted}": "需要 {nodes}，各 {wanted}",
    "{where} has {number} such": "{where}有 {number} 个",
    "asks for {wanted}": "需要 {wanted}",
    "asks for {wanted} joined by fast links": "需要 {wanted}，由高速互连相连",
    "no node of the queue's pools has so many that are": "该队列的资源池中没有节点有这么多这样的设备",
    "the queue's whole quota is {quota}": "队列的全部配额是 {quota}",
    "{number} {model} on one node are not allowed": "一个节点上不允许 {number} 个 {model}",
    "allowed are {allowed}": "允许 {allowed}",
    "The job waits at position {place} of queue {queue}: {why}": "作业在队列 {queue} 中排第 {place} 位：{why}",
    "The job waits at position {place} of queue {queue}.": "作业在队列 {queue} 中排第 {place} 位。",
    "The job waits: the planner has not looked at it yet.": "作业在等待：调度器尚未处理它。",
    "The job waits: {why}.": "作业在等待：{why}。",
    "the planner has not looked at the job yet": "调度器尚未处理该作业",
    "it is held until somebody releases it": "已挂起，等待放行",
    "it is released": "放行它",
    "it waits until {what}; that is {state} now": "等待 {what}；它现在{state}",
    "{job} has started": "{job} 启动",
    "{job} has succeeded": "{job} 成功",
    "{job} has ended": "{job} 结束",
    "held": "已挂起",
    "queued": "排队",
    "allocated": "已分配",
    "running": "运行中",
    "stopping": "停止中",
    "succeeded": "成功",
    "failed": "失败",
    "cancelled": "已取消",
    "waits for other jobs": "等待其他作业",
    "waits for its array's turn": "等待本数组轮到它",
    "not planned yet": "尚未调度",
    "asks for {wanted}; {free} are free in pool {pool}": "需要 {wanted}；资源池 {pool} 中空闲 {free}",
    "asks for {wanted}; {free} are free in pool {pool}, {booked} of them {how}": (
        "需要 {wanted}；资源池 {pool} 中空闲 {free}，其中 {booked} 个{how}"
    ),
    "in maintenance or reserved, from {begin} on": "自 {begin} 起维护或被预留",
    "in maintenance from {begin} to {end}": "在 {begin} 至 {end} 维护",
    "in maintenance from {begin} to {end} ({why})": "在 {begin} 至 {end} 维护（{why}）",
    "reserved from {begin} to {end}": "在 {begin} 至 {end} 被预留",
    "asks for {wanted}; {free} are free in pool {pool}, {kept} of them kept for earlier jobs": (
        "需要 {wanted}；资源池 {pool} 中空闲 {free}，其中 {kept} 为更早的作业保留"
    ),
    "only {number} node": "只有 {number} 个节点",
    "only {number} nodes": "只有 {number} 个节点",
    "no node": "没有节点",
    "asks for {wanted}; {free} are free in pool {pool}, {nodes} with room for {count}": (
        "需要 {wanted}；资源池 {pool} 中空闲 {free}，{nodes}能容纳 {count}"
    ),
    "asks for {wanted}; {free} are free in pool {pool}, but not in sets that the job may take": (
        "需要 {wanted}；资源池 {pool} 中空闲 {free}，但不构成该作业可用的组合"
    ),
    "asks for {wanted}; {nodes} of pool {pool} with {count} or more in service": (
        "需要 {wanted}；资源池 {pool} 中{nodes}有 {count} 个以上可用设备"
    ),
    "asks for {nodes} with {wanted}; pool {pool} has {number} such": (
        "需要 {nodes}，各 {wanted}；资源池 {pool} 有 {number} 个"
    ),
    "asks for {wanted}; {nodes} of pool {pool} with room serve another firm alone": (
        "需要 {wanted}；资源池 {pool} 中 {nodes}有空位，但只为另一家企业服务"
    ),
    "asks for {wanted}; {nodes} of pool {pool} with room run no container images": (
        "需要 {wanted}；资源池 {pool} 中 {nodes}有空位，但不能运行容器镜像"
    ),
    "asks for {wanted}; the agents of {nodes} of pool {pool} with room are older than {what}": (
        "需要 {wanted}；资源池 {pool} 中 {nodes}有空位，但其代理程序版本过旧，不支持{what}"
    ),
    "no node of the queue's pools ({names}) with {model} runs container images": (
        "该队列的资源池（{names}）中没有能运行容器镜像的 {model} 节点"
    ),
    "the agents of all nodes with {model} in the queue's pools ({names}) are older than {what}": (
        "该队列的资源池（{names}）中所有 {model} 节点的代理程序版本过旧，不支持{what}"
    ),
    "an object store: pool {pool} has none yet (an operator declares them: pools[].object_stores)": (
        "对象存储：资源池 {pool} 还没有（由运营方声明：pools[].object_stores）"
    ),
    "object stores": "对象存储",
    "output patterns": "输出路径的通配符",
    "asks for {wanted}; the queue's whole quota is {quota}": "需要 {wanted}；队列的全部配额是 {quota}",
    "asks for {nodes} with {wanted}; {where} has {number} such": "需要 {nodes}，各 {wanted}；{where}有 {number} 个",
    "asks for {wanted} joined by fast links; no node of the queue's pools has so many that are": (
        "需要 {wanted}，由高速互连相连；该队列的资源池中没有节点有这么多这样的设备"
    ),
    "the largest pool of the queue": "该队列最大的资源池",
    "the largest {level} of the queue's pools": "该队列的资源池中最大的 {level} ",
    "{number} node": "{number} 个节点",
    "{number} nodes": "{number} 个节点",
    "{number} device": "{number} 个设备",
    "{number} devices": "{number} 个设备",
    "pool {pool} has no {model}": "资源池 {pool} 中没有 {model}",
    "no pool of the queue ({names}) has {model}": "该队列的资源池（{names}）中没有 {model}",
    "the catalogue knows no device model {model}": "目录中没有设备型号 {model}",
    "the queue {queue} may use no pool": "队列 {queue} 不能使用任何资源池",
    "the firm has no queue {queue}": "企业没有队列 {queue}",
    "{number} {model} on one node are not allowed; allowed are {allowed}": (
        "一个节点上不允许 {number} 个 {model}；允许 {allowed}"
    ),
    "now, with {devices} instead of {asked}: pool {pool}, {model}": (
        "以 {devices}代替 {asked} 个：资源池 {pool}，{model}"
    ),
    "asks for {wanted}; nothing of any device is free in pool {pool}": (
        "需要 {wanted}；资源池 {pool} 中没有空闲的设备份额"
    ),
    "asks for {wanted}; the queue has none of its own and holds {held}": (
        "需要 {wanted}；队列没有自己的配额，已占用 {held}"
    ),
    "asks for {wanted}; the queue has none of its own and holds {held}, and {left} are left in its cohort {cohort}": (
        "需要 {wanted}；队列没有自己的配额，已占用 {held}，其队列组 {cohort} 还剩 {left}"
    ),
    # Why a job ends that nobody can start
    "its spec cannot be read: {problem}": "无法读取其规格：{problem}",
    # Why running work stops
    "makes room for a queue that takes back quota which it had lent": "为收回借出配额的队列腾出位置",
    "makes room for a job of queue {queue} of priority {priority}": "为队列 {queue} 中优先级 {priority} 的作业腾出位置",
    "makes room for a job of queue {queue} that is done much sooner": "为队列 {queue} 中很快结束的作业腾出位置",
    "makes room for a gang of its queue": "为本队列的多节点作业腾出位置",
    "makes room for jobs of its queue that gain more there": "为本队列中在此收益更大的作业腾出位置",
    "gains more on {model}": "在 {model} 上收益更大",
    "its nodes are wanted from {moment}: {why}": "其节点自 {moment} 起另有用途：{why}",
    "they are reserved": "已被预留",
    "asks for {wanted}; at most {most} ppm of one device are free in pool {pool}": (
        "需要 {wanted}；资源池 {pool} 中单个设备最多空闲 {most} ppm"
    ),
    "asks for {wanted}; at most {most} ppm of one device are free in pool {pool}, {how}": (
        "需要 {wanted}；资源池 {pool} 中单个设备最多空闲 {most} ppm，{how}"
    ),
    "asks for {wanted}; at most {most} ppm of one device are free in pool {pool}, kept for earlier jobs": (
        "需要 {wanted}；资源池 {pool} 中单个设备最多空闲 {most} ppm，已为更早的作业保留"
    ),
    "asks for {wanted}; what is free in pool {pool} is on devices or nodes that another firm has for itself": (
        "需要 {wanted}；资源池 {pool} 中空闲的部分在另一家企业独占的设备或节点上"
    ),
    "asks for {wanted} in one {level}; {nodes} of pool {pool} have room, at most {most} in one": (
        "需要同一 {level} 内的 {wanted}；资源池 {pool} 中 {nodes}有空位，同一处最多 {most} 个"
    ),
    "asks for {wanted}; the queue holds {held} of its {quota}": "需要 {wanted}；队列已占用其 {quota} 中的 {held}",
    "asks for {wanted}; the queue holds {held} of its {quota}, and {left} are left in its cohort {cohort}": (
        "需要 {wanted}；队列已占用其 {quota} 中的 {held}，其队列组 {cohort} 还剩 {left}"
    ),
    "{left} {model} are left of the queue's quota; they are kept for a job that waits longer": (
        "队列配额还剩 {left} {model}；为等待更久的作业保留"
    ),
    "may cost {cost} CNY on {model}; project {project} has {left} left": (
        "在 {model} 上可能花费 {cost} 元；项目 {project} 还剩 {left} 元"
    ),
    "may cost {cost} CNY on {model} within its time limit; its budget has {left} left": (
        "在时限内于 {model} 上可能花费 {cost} 元；其预算还剩 {left} 元"
    ),
    "its budget is used up": "其预算已用完",
    "Its deadline, {deadline}, comes before it most likely starts, about {moment}.": (
        "其截止时间 {deadline} 早于最可能启动的时间（约 {moment}）。"
    ),
    "Its deadline, {deadline}, comes before it most likely ends by its estimate, about {moment}.": (
        "其截止时间 {deadline} 早于按其预计时长最可能结束的时间（约 {moment}）。"
    ),
    "its start was planned, and did not pass the last check: it waits, and the operator is told": (
        "已计划启动，但未通过最后检查：作业继续等待，并已告知运营方"
    ),
    "planning fails over it: it waits, others start without it, and the operator is told": (
        "调度计算因它出错：作业继续等待，其他作业照常启动，并已告知运营方"
    ),
    "the last cycle reached its bound on work before this job": "上一轮调度在轮到该作业之前达到了工作量上限",
    "its last attempt failed; the next one is due at {moment}": "上次尝试失败；下一次定于 {moment}",
    "now, if it need not be inside one {level}: {where}": "若不要求在同一 {level} 内：{where}",
    "now, with a time limit of at most {minutes} min: {where}": "时限不超过 {minutes} 分钟：{where}",
    "now, if the queue had {more} more of its quota left": "队列配额再多剩 {more}",
    "now on {model}, with a shorter time limit or more money: its devices are free": (
        "缩短时限或增加预算，即可用 {model}：其设备空闲"
    ),
    "now on {model}, if it could go on from a model checkpoint and move later (resumable)": (
        "若能从模型检查点继续、之后迁移（可恢复），即可用 {model}"
    ),
    "when work that makes room for it has stopped": "待为其腾出位置的作业停止后",
    "{change}; or when what its queue lent comes back: {what}": "{change}；或待队列借出的配额收回：{what}",
    "when {nodes} more of pool {pool} with {count} free {model} can be used": (
        "待资源池 {pool} 再有 {nodes}（各有 {count} 个空闲的 {model}）可用"
    ),
    "when the queue has {more} more of its quota left and {nodes} more of pool {pool} with {count} free {model} can be"
    " used": "待队列配额再多剩 {more}，且资源池 {pool} 再有 {nodes}（各有 {count} 个空闲的 {model}）可用",
    "when what its queue lent comes back: {what}": "待队列借出的配额收回：{what}",
    "work on {amount} ends, or from {moment} on, when it has run for {minutes} min": (
        "使用 {amount} 的作业结束，或自 {moment} 起（届时已运行 {minutes} 分钟）"
    ),
    "work on {amount} ends, or from {moment} on whatever it loses": (
        "使用 {amount} 的作业结束，或自 {moment} 起（无论损失多少）"
    ),
    "work on {amount} ends or saves a model checkpoint, or from {moment} on whatever it loses": (
        "使用 {amount} 的作业结束或保存模型检查点，或自 {moment} 起（无论损失多少）"
    ),
    "work on {amount} stops in one of the next cycles": "使用 {amount} 的作业在之后某轮调度中停止",
    "pool {pool}, {model}": "资源池 {pool}，{model}",
    "now, with a variant for {model}: {free} are free in pool {pool}": (
        "加上 {model} 的变体：资源池 {pool} 中空闲 {free}"
    ),
    # Money
    "may cost {cost} CNY on {model} {span}; {whose} has {left} left of {amount} CNY {period},"
    " {gone} are spent or held": (
        "在 {model} 上{span}可能花费 {cost} 元；{whose}{period}的预算 {amount} 元还剩 {left} 元，"
        "已花费或占用 {gone} 元"
    ),
    "within its time limit": "其时限内最多",
    "in an hour": "一小时",
    "project {project}": "项目 {project}",
    "its firm": "所属企业",
    "a month": "每月",
    "a year": "每年",
    "in all": "总共",
    "now on {model}, with a time limit of at most {minutes} min or with {missing} CNY more for {whose}": (
        "现在即可在 {model} 上运行，若时限不超过 {minutes} 分钟，或{whose}增加 {missing} 元"
    ),
    "now on {model}, with {missing} CNY more for {whose}": "现在即可在 {model} 上运行，若{whose}增加 {missing} 元",
    "now on {model}, with {missing} CNY more for {whose}; its next budget begins at {time}": (
        "现在即可在 {model} 上运行，若{whose}增加 {missing} 元；下一个预算周期始于 {time}"
    ),
    "now on {model}, with a time limit of at most {minutes} min or with {missing} CNY more for {whose}; its next budget"
    " begins at {time}": (
        "现在即可在 {model} 上运行，若时限不超过 {minutes} 分钟，或{whose}增加 {missing} 元；下一个预算周期始于 {time}"
    ),
    "of its array {active} go on or are next, and at most {most} may at a time (this is {index}, of {count})": (
        "本数组有 {active} 个作业在进行或即将开始，同时最多 {most} 个（这是共 {count} 个中的 {index}）"
    ),
    "ends sooner on a faster model than {model}, free in about {minutes} min, and cannot move later": (
        "在比 {model} 更快的型号上结束更早，该型号约 {minutes} 分钟后空闲，且之后不能迁移"
    ),
    "would be spread over {number} {what} now, over {fewer} from about {moment} on: waits for that until {latest} at"
    " the latest": "现在将分布在 {number} 个{what}上，约 {moment} 起只需 {fewer} 个：为此等待，最迟到 {latest}",
    "gangs of the firm that ask for the same and come before it wait for places that are closer together: not looked"
    " at in this cycle": "本企业中排在其前、要求相同的多节点作业正在等待更集中的位置：本轮未予考虑",
    "now, over {number} {what}, if it did not prefer one {level}: {where}": (
        "现在即可分布在 {number} 个{what}上，若不优先要求同一 {level}：{where}"
    ),
    "leaf switches": "叶交换机",
    "supernodes": "超节点",
    "zones": "可用区",
    "would begin anew, as its nodes are wanted from {moment} on: waits for others, until {latest} at the latest": (
        "其节点自 {moment} 起另有安排，届时只能从头开始：等待其他节点，最迟到 {latest}"
    ),
}
