"""Chinese for the sentences of the server that people meet most.

A sentence that changed on the server is shown in English until its key here follows.
"""

ZH_SENTENCES = {
    # Fields
    "{field}: got {got}, want {want}": "{field}：收到 {got}，应为 {want}",
    "{amount} with all that is below it": "{amount}（含其下全部）",
    "{field}: got nothing, want {want}": "{field}：收到空值，应为 {want}",
    "{field}: got nothing, want {want} (and {more} more)": "{field}：收到空值，应为 {want}（另有 {more} 处）",
    "{field}: got {got}, want {want} (and {more} more)": "{field}：收到 {got}，应为 {want}（另有 {more} 处）",
    "{field}: there is no such field; did you mean {near}?": "{field}：没有该字段；是否想写 {near}？",
    "{field}: there is no such field, want {want}": "{field}：没有该字段，应为 {want}",
    "a value: the field is required": "一个值：该字段必填",
    "text": "文本",
    "nothing": "空值",
    "an unknown field": "未知字段",
    "a whole number": "整数",
    "a whole number from {low} to {high}": "{low} 到 {high} 的整数",
    "true or false": "true 或 false",
    "a list": "列表",
    "an object": "对象",
    "an object with text keys": "键为文本的对象",
    "a number": "数字",
    "one of: {names}": "以下之一：{names}",
    "one of {names}": "以下之一：{names}",
    "at least {number}": "不小于 {number}",
    "at most {number}": "不大于 {number}",
    "at most {number} items": "最多 {number} 项",
    "at most {number} characters": "最多 {number} 个字符",
    "at least {number} characters": "至少 {number} 个字符",
    "at most {number} bytes": "最多 {number} 字节",
    "text that matches {pattern}": "匹配 {pattern} 的文本",
    "no such field": "没有该字段",
    "a time that has not passed": "尚未过去的时间",
    "a time after the beginning of the period": "晚于时段开始的时间",
    "a time before now": "早于现在的时间",
    "next_cursor of the page before": "上一页的 next_cursor",
    "a model that no other variant has": "其他变体未使用的型号",
    "a job's id, or a name of this batch": "作业标识，或本批次中的名称",
    "at least one condition": "至少一个条件",
    "1 to 100 of a-z 0-9 - . _, no sign at the ends": "1 到 100 个 a-z 0-9 - . _，首尾不能是符号",
    "a divisor of devices ({number})": "devices（{number}）的约数",
    "key of a device model": "设备型号的键",
    "a port that the job declares ({listed})": "作业声明的端口（{listed}）",
    "none: add ports: [...] to the job": "没有：请在作业中加 ports: [...]",
    "{names} in each of the variants, not beside them": "{names} 写在每个变体之内，而不是旁边",
    # What a job, a batch or a configuration should have said
    "a device model of the catalogue": "目录中的设备型号",
    "{field}, which is counted in TFLOPS": "{field}（以 TFLOPS 计）",
    "in a pool of queue {queue}: {pools}": "位于队列 {queue} 的资源池中：{pools}",
    "{what} (suanli models lists them)": "{what}（suanli models 列出它们）",
    "{what}, perhaps {near}": "{what}，例如 {near}",
    "a person or token": "人员或令牌",
    "{what}, perhaps {near} or {other}": "{what}，例如 {near} 或 {other}",
    "{what}, perhaps {near} or {other} or {third}": "{what}，例如 {near}、{other} 或 {third}",
    "whole seconds, or whole numbers with units, like 1h30m": "整数秒，或带单位的整数，如 1h30m",
    "whole seconds, or whole numbers with units, like 1h30m ({low} to {high})": (
        "整数秒，或带单位的整数，如 1h30m（{low} 到 {high}）"
    ),
    "bytes, or text like 16GiB ({low} to {high})": "字节数，或 16GiB 这样的文本（{low} 到 {high}）",
    "name of a volume of the pool": "资源池中一个卷的名称",
    "an absolute path without ..": "不含 .. 的绝对路径",
    "text for a shell, or a list of program and arguments": "交给 shell 的文本，或由程序和参数组成的列表",
    "a list of program and arguments": "由程序和参数组成的列表",
    "text without NUL characters": "不含 NUL 字符的文本",
    "one line of text": "一行文本",
    "no range beside groups": "与 groups 并用时不能是范围",
    "whole devices beside groups or spare nodes": "与 groups 或备用节点并用时只能是整台设备",
    "at least one of the two": "二者至少有一",
    "at most {number} devices": "最多 {number} 台设备",
    'at most "1"': '不大于 "1"',
    "no spare nodes beside groups": "与 groups 并用时不能有备用节点",
    "a multiple of devices_per_node ({number})": "devices_per_node（{number}）的倍数",
    "a name that no other group has": "其他组未使用的名称",
    "nothing beside groups, or {number}": "与 groups 并用时为空值或 {number}",
    "an image beside it": "同时有镜像",
    "1 to {number} variants": "1 到 {number} 个变体",
    "a list of 1 to {number} jobs": "含 1 到 {number} 个作业的列表",
    "a time with its zone, such as 2026-12-01T08:00:00+08:00": "带时区的时间，例如 2026-12-01T08:00:00+08:00",
    'a time with its zone, like "2026-01-01T00:00:00+08:00"': '带时区的时间，例如 "2026-01-01T00:00:00+08:00"',
    "a year from {first} to {last}": "{first} 到 {last} 年",
    "a time of day behind the date, and its zone, such as {moment}": "日期之后写时刻和时区，例如 {moment}",
    "a month from 01 to 12": "01 到 12 月",
    "a day that there is: {month} has {number} days": "存在的日期：{month} 有 {number} 天",
    "a time of day from 00:00:00 to 23:59:59": "00:00:00 到 23:59:59 的时刻",
    "an https URL with a host, without a user or a fragment": "有主机名、不含用户和片段的 https URL",
    "a list of exit codes": "退出码的列表",
    "an exit code from 1 to 255": "1 到 255 的退出码",
    "a path inside the task's folder, without ..": "任务文件夹内的路径，不含 ..",
    "a name that does not begin with SUANLI_": "不以 SUANLI_ 开头的名称",
    "a name that nothing else of the job has": "该作业中其他各项未使用的名称",
    "nothing: it goes with object alone": "空值：它只与 object 并用",
    "no job that waits for itself": "不等待自身的作业",
    "an object: device model -> number of devices": "对象：设备型号 -> 设备数",
    "names of nodes, or a pool, and not both": "节点名称或资源池，二者只能有一",
    "a time after from": "晚于 from 的时间",
    "a time after {moment}, where the period begins": "晚于时段开始（{moment}）的时间",
    "a time before {moment}, up to which all windows are logged": "早于 {moment}（窗口全部入日志之处）的时间",
    "a time on the {number}-minute grid of UTC, so that no window splits": (
        "UTC 的整 {number} 分钟时刻，以免拆开窗口"
    ),
    "names of the firms that may use it": "可以使用它的企业的名称",
    "each one once": "每项一次",
    "an upload of your firm: suanli submit --upload FOLDER sends it": (
        "本企业的上传内容：用 suanli submit --upload FOLDER 发送"
    ),
    # Why
    "Node {name} has been silent since {moment}: what its task does is not known"
    " until its agent is back, or the pool's patience is over.": (
        "节点 {name} 自 {moment} 起失联：在其代理恢复或资源池的等待时限到期之前，无法得知其任务的状态。"
    ),
    # Who may
    "no API key was sent: send the header Authorization: Bearer sk_...": (
        "没有发送 API 密钥：请发送 Authorization: Bearer sk_..."
    ),
    "this API key is unknown, revoked or expired": "该 API 密钥未知、已吊销或已过期",
    "the token has expired: sign in again (suanli login)": "令牌已过期：请重新登录（suanli login）",
    "this API key is for {scope}; to {action} takes one for {needed}": (
        "该 API 密钥的范围是 {scope}；“{action}”需要范围为 {needed} 的密钥"
    ),
    "{name} is {role} and may not {action}; these may: {roles}; you may set the budgets of the firm's projects": (
        "{name} 的角色是{role}；“{action}”只允许：{roles}；您可以设定本企业各项目的预算"
    ),
    "{name} is {role} and may not {action}; these may: {roles}": "{name} 的角色是{role}；“{action}”只允许：{roles}",
    "{name} belongs to no firm and cannot act for one": "{name} 不属于任何企业，不能代表企业操作",
    "{name} may act in the projects {projects}, not in {project}": (
        "{name} 可在项目 {projects} 中操作，不能在 {project} 中操作"
    ),
    "{name} may act in the projects {projects}, not for the whole firm": (
        "{name} 可在项目 {projects} 中操作，不能代表整个企业操作"
    ),
    "job {job} is another firm's: an operator may hold or cancel it": (
        "作业 {job} 属于另一家企业：运营方只能挂起或取消它"
    ),
    "a firm administrator creates principals of the own firm only": "企业管理员只能创建本企业的用户",
    "nobody can disable themselves: the installation might lose its last operator": (
        "不能停用自己：系统可能失去最后一个运营方用户"
    ),
    "a researcher": "研究人员",
    "a firm administrator": "企业管理员",
    "an operator": "运营方",
    "an auditor": "审计方",
    "researcher": "研究人员",
    "firm administrator": "企业管理员",
    "operator": "运营方",
    "auditor": "审计方",
    "submit jobs": "提交作业",
    "read jobs": "查看作业",
    "read job logs": "查看作业输出",
    "cancel jobs": "取消作业",
    "change jobs": "更改作业",
    "forward ports": "转发端口",
    "attach to jobs": "打开终端",
    "upload files": "上传",
    "read results": "取回结果",
    "read secrets": "查看密钥名称",
    "manage secrets": "管理密钥",
    "read notifications": "查看通知",
    "read events": "查看事件",
    "read nodes": "查看节点",
    "cordon nodes": "封锁节点",
    "read the catalogue": "查看目录",
    "read usage": "查看用量",
    "read the balance of device time": "查看设备时间去向",
    "download bundles": "下载证据包",
    "request proofs": "索取证明",
    "request samples": "索取原始采样",
    "close periods": "关闭结算期",
    "configure the installation": "配置",
    "set budgets of projects": "设定项目预算",
    "set budgets of firms": "设定企业预算",
    "create join tokens": "创建加入令牌",
    "manage principals": "管理用户",
    "manage own keys": "管理自己的密钥",
    "read metrics": "查看指标",
    "manage firm keys": "管理企业密钥",
    "sign receipts": "签署回执",
    "read receipts": "查看回执",
    "see who they are": "查看自己的身份",
    # What is not there, or not now
    "there is no job {job}": "没有作业 {job}",
    "there is no array {array}": "没有数组 {array}",
    "there is no node {node}": "没有节点 {node}",
    "there is no queue {queue}": "没有队列 {queue}",
    "there is no pool named {pool}": "没有名为 {pool} 的资源池",
    "there is no price {price}": "没有价格 {price}",
    "there is no secret {name}": "没有密钥 {name}",
    "there is no principal named {name}": "没有名为 {name} 的用户",
    "there is no API key {key}": "没有 API 密钥 {key}",
    "there already is a principal named {name}": "已有名为 {name} 的用户",
    "there is no firm {firm}": "没有企业 {firm}",
    "there is no key {name}": "没有密钥对 {name}",
    "job {job} has no results of attempt {attempt}, rank {rank}": (
        "作业 {job} 没有第 {attempt} 次尝试、rank {rank} 的结果"
    ),
    "the results hold no file {path}": "结果中没有文件 {path}",
    "nothing of attempt {attempt}, rank {rank} is kept: {why}": (
        "第 {attempt} 次尝试、rank {rank} 没有保留任何内容：{why}"
    ),
    "the secret {name} is there no more: suanli secret set {again}": (
        "密钥 {name} 已不存在：请用 suanli secret set {again} 设置"
    ),
    # Contradicts what is there, or is too much
    "it was changed since: its ETag is {tag}, not {given}; read it and try again": (
        "读取之后已被修改：其 ETag 是 {tag}，不是 {given}；请重新读取后再试"
    ),
    "there is none yet, and so it has no ETag: leave If-Match out": "尚不存在，因此没有 ETag：请去掉 If-Match",
    "job {job} was revised by somebody else just now: look at it and try again": (
        "作业 {job} 刚被他人修改：请查看后再试"
    ),
    "the budget of {name} has {left} CNY left, and with such a time limit the job may cost {more} CNY more: "
    "choose a shorter one, or have the budget raised": (
        "{name} 的预算还剩 {left} 元，按该时限作业可能再花费 {more} 元：请缩短时限，或请人提高预算"
    ),
    "task {rank} of job {job} has ended": "作业 {job} 的任务 {rank} 已结束",
    "the node of task {rank} is not connected just now, or its gateway takes no tunnels; the job goes on": (
        "任务 {rank} 所在节点暂未连接，或其网关不接受隧道；作业继续运行"
    ),
    "a batch makes at most {number} jobs, arrays unfolded": "一个批次最多产生 {number} 个作业（数组展开后）",
    "a firm has at most {number} secrets": "一家企业最多 {number} 个密钥",
    "the firm keeps {there} of uploads and results here, and may keep {most}: {more} more do not fit. {what}": (
        "企业在此保存了 {there} 的上传内容和结果，上限为 {most}：再加 {more} 放不下。{what}"
    ),
    "the firm keeps {there} objects of uploads and results here, and may keep {most}: {more} more do not fit; "
    "pack many small files into one. {what}": (
        "企业在此保存了 {there} 个上传和结果对象，上限为 {most}：再加 {more} 个放不下；请把大量小文件打包。{what}"
    ),
    "the installation cannot keep uploads now: {why}": "系统目前无法保存上传内容：{why}",
    "secrets cannot be kept now: {why}": "目前无法保存密钥：{why}",
    "job {job} has ended already: {state}": "作业 {job} 已经结束：{state}",
    "job {job} is {state}: it waits already": "作业 {job} 的状态是{state}：它本来就在排队",
    "job {job} is in state {state}; it can be reached while it runs": "作业 {job} 的状态是{state}；只有运行时才能连接",
    "more than {number} requests a second (and {burst} at once): come back in {wait} s": (
        "每秒超过 {number} 个请求（一次最多 {burst} 个）：请 {wait} 秒后再试"
    ),
    "the evidence log holds nothing yet": "证据日志还是空的",
    "The database does not answer; the same request may succeed in a moment.": (
        "数据库没有响应；同一请求稍后可能成功。"
    ),
    "The request failed because of an error of ours; the log has it under this request_id.": (
        "由于服务器自身的错误，请求失败；服务器日志中可按此 request_id 查找。"
    ),
    # Where a job is, and how it ended
    "Attempt {attempt} has its {model} devices; its tasks are being prepared.": (
        "第 {attempt} 次尝试已得到 {model} 设备；正在准备任务。"
    ),
    "Attempt {attempt} runs on {model}.": "第 {attempt} 次尝试正在 {model} 上运行。",
    "Attempt {attempt} is being stopped.": "第 {attempt} 次尝试正在停止。",
    "The job {state} ({why}, exit code {number}).": "作业{state}（{why}，退出码 {number}）。",
    "The job {state} ({why}, exit code {number}, {detail}).": "作业{state}（{why}，退出码 {number}，{detail}）。",
    "The job {state} ({why}).": "作业{state}（{why}）。",
    "The job {state}.": "作业{state}。",
    "was cancelled": "已取消",
    "It was placed on {placed}.": "放置在 {placed}。",
    "It was placed on {placed} and {more} more.": "放置在 {placed}及另外 {more} 个节点。",
    "It was placed in pool {pool} on {placed}.": "放置在资源池 {pool} 的 {placed}。",
    "It was placed in pool {pool} on {placed} and {more} more.": (
        "放置在资源池 {pool} 的 {placed}及另外 {more} 个节点。"
    ),
    "{node} (device {numbers})": "{node}（设备 {numbers}）",
    "{node} (devices {numbers})": "{node}（设备 {numbers}）",
    "{node} (no devices)": "{node}（无设备）",
    "It is inside one {level}: {name}.": "位于同一 {level} 内：{name}。",
    "It would rather be inside one {level} and is over {number}: {names}; none had room for more than {most} of its"
    " {tasks} tasks.": (
        "优先要求同一 {level}，实际分布在 {number} 个：{names}；当时单个最多容纳其 {tasks} 个任务中的 {most} 个。"
    ),
    "It would rather be inside one {level} and is over {number}: {names}.": (
        "优先要求同一 {level}，实际分布在 {number} 个：{names}。"
    ),
    "Then {free} {model} were free there, and {nodes} had room for a task.": (
        "当时那里有 {free} 个 {model} 空闲，{nodes}能容纳一个任务。"
    ),
    "Of its variants {variants} it got {model}.": "在变体 {variants} 中得到 {model}。",
    "Of its variants {variants} it got {model} (nominal {tflops} TFLOPS FP16 a device).": (
        "在变体 {variants} 中得到 {model}（标称每设备 {tflops} TFLOPS FP16）。"
    ),
    "{model} was preferred and could not be had: {why}.": "优先 {model}，但无法得到：{why}。",
    "It did not start with more devices: {why}.": "未能以更多设备启动：{why}。",
    "Pool {pool} comes before and could not have it: {why}.": "资源池 {pool} 在前，但无法容纳：{why}。",
    "the period from {begin} to {end} is closed, and this one overlaps it": (
        "{begin} 至 {end} 这一期已关闭，与本期重叠"
    ),
}
