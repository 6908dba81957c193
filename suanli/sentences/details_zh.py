"""The Chinese of what the server refuses beside specs and configurations: bills, receipts, nodes, people, uploads."""

ZH_DETAILS = {
    # Bills and the evidence log
    "no node is enrolled: there is no time to account for": "没有已注册的节点：没有可结算的时间",
    "no node is enrolled: there is no time to inspect": "没有已注册的节点：没有可抽查的时间",
    "usage windows of every living node are logged up to {logged}, and the period ends at {end}: ask again later": (
        "各存活节点的用量窗口已入日志至 {logged}，而该期间止于 {end}：请稍后再试"
    ),
    "usage windows of every living node are logged and cosigned up to {logged}, which is before {end}: "
    "ask again later": ("各存活节点的用量窗口已入日志并联署至 {logged}，早于 {end}：请稍后再试"),
    "the period is not closed: usage windows of every living node are logged up to {logged}, which is before {end}: "
    "ask again later": "该期间尚未关闭：各存活节点的用量窗口已入日志至 {logged}，早于 {end}：请稍后再试",
    "a period in which some firm used something": "有企业用量的期间",
    "log entries between {first} and {last} are missing in the database": "数据库中缺少第 {first} 至 {last} 条日志条目",
    "log entry {index} is missing in the database": "数据库中缺少第 {index} 条日志条目",
    "the published log misses a tile: {error}": "已公布的日志缺少瓦片：{error}",
    "the published log does not prove its entries: {error}": "已公布的日志无法证明其条目：{error}",
    "the evidence log has no such file (yet)": "证据日志（尚）没有该文件",
    "a log checkpoint that this log published": "本日志公布过的日志检查点",
    "a signed log checkpoint ({error})": "已签名的日志检查点（{error}）",
    "one published after the period closed at {end}, so that nobody knew the seed before": (
        "期间于 {end} 关闭之后公布的日志检查点，这样此前无人知道种子"
    ),
    "{number} to {last}: the seed's tree has {size} entries": "{number} 到 {last}：种子的树有 {size} 个条目",
    "each index once; indexes[{place}] is the same": "每个序号只出现一次；indexes[{place}] 与之相同",
    "each index once": "每个序号只出现一次",
    "each file once": "每个文件只出现一次",
    # Receipts and keys of firms
    "the firm has registered {number} keys, which is the most": "该企业已登记 {number} 个密钥，这是上限",
    "a receipt speaks for the firm of whoever sends it": "回执只能代表提交者所属的企业",
    "key {name} is revoked": "密钥 {name} 已吊销",
    "job {job} has no allocation {allocation}": "作业 {job} 没有分配 {allocation}",
    "allocation {allocation} has not ended yet: a receipt is for the whole of it": (
        "分配 {allocation} 尚未结束：回执针对整个分配"
    ),
    "allocation {allocation} has {number} receipts, which is the most": (
        "分配 {allocation} 已有 {number} 份回执，这是上限"
    ),
    "key {name} was registered before and cannot be registered again; make a new one": (
        "密钥 {name} 曾登记过，不能再次登记；请生成新的"
    ),
    "a registered key of the firm": "该企业已登记的密钥",
    "a signature of key {name} over the receipt": "密钥 {name} 对回执的签名",
    # Configuration
    "{owner} has no budget": "{owner} 没有预算",
    "the firm {firm} has no project {project}": "企业 {firm} 没有项目 {project}",
    "the calendar has no entry {name} that is open or to come": "日历中没有进行中或未来的条目 {name}",
    "there is no {thing}": "没有 {thing}",
    "pool {pool} is in use: queues such as {queue} name it": "资源池 {pool} 在用：{queue} 等队列引用它",
    "{thing} is in use, or was: {users} refer to it": "{thing} 在用或曾被使用：{users} 引用它",
    "an object with the fields to change": "含有要更改的字段的对象",
    "{name}, as in the address": "{name}，与地址中一致",
    # Nodes
    "this key belongs to the node named {name}, not {other}": "该密钥属于名为 {name} 的节点，而非 {other}",
    "node {name} is registered with devices {known}, and came with {came}": (
        "节点 {name} 登记的设备是 {known}，此次带来的是 {came}"
    ),
    "a node named {name} is enrolled already with another key": "名为 {name} 的节点已以另一密钥注册",
    "{number} to {most} of A-Z a-z 0-9 . _ -": "{number} 到 {most} 个 A-Z a-z 0-9 . _ -",
    "{number} to {most}: a node without devices runs nothing": "{number} 到 {most}：没有设备的节点什么也不能运行",
    "a raw Ed25519 key of 32 bytes": "32 字节的 Ed25519 原始公钥",
    "milliseconds of UTC": "UTC 毫秒数",
    "a signed 64-bit number": "有符号的 64 位整数",
    "a smaller number": "更小的数",
    "this node has no live allocation {allocation}": "该节点没有存活的分配 {allocation}",
    "this node has no allocation {allocation}": "该节点没有分配 {allocation}",
    "the node's agent is older than {feature}: the operator upgrades it": (
        "该节点的代理版本早于 {feature}：请由运营方升级"
    ),
    "the firm has no volume {name} in this node's pool any more": "该企业在此节点的资源池中已没有卷 {name}",
    "{field}.credentials: the secret {name} has no lines AWS_ACCESS_KEY_ID= and AWS_SECRET_ACCESS_KEY=": (
        "{field}.credentials：密钥 {name} 中没有 AWS_ACCESS_KEY_ID= 和 AWS_SECRET_ACCESS_KEY= 两行"
    ),
    "{field}.store: this node's pool has no object store {name} any more": (
        "{field}.store：此节点的资源池中已没有对象存储 {name}"
    ),
    "another stream of this key stores its windows at the same time": "该密钥的另一条流正在同时存入窗口",
    "allocation {allocation} ended too long ago to leave results": "分配 {allocation} 结束已久，不再能留下结果",
    # People
    "a rule of this installation says that you belong to the firm {firm}, which does not exist: tell the operator": (
        "本系统的规则称您属于企业 {firm}，但它不存在：请告知运营方"
    ),
    "{issuer} vouches for you, but no rule of this installation says who you are here: ask the operator for one": (
        "{issuer} 证明了您的身份，但本系统没有规则说明您在此是谁：请运营方添加"
    ),
    "{name} is disabled": "{name} 已停用",
    "{name} signs in at {issuer}, which alone vouches for them: no keys are made here. For a program, make a principal "
    "of its own (suanli users create NAME --service)": (
        "{name} 在 {issuer} 登录，只由其证明身份：此处不签发密钥。"
        "程序请使用自己的用户（suanli users create NAME --service）"
    ),
    "the name of a principal": "用户名",
    "the issuer {url} cannot be asked for its keys now": "暂时无法向签发者 {url} 取得密钥",
    "this gateway has no secrets.keys": "此网关没有 secrets.keys",
    "the secret {name} cannot be opened: {error}": "无法打开密钥 {name}：{error}",
    "a project of your firm, or none": "您企业的项目，或不填",
    # Requests
    "another request with this Idempotency-Key was under way: send this one again": (
        "另有相同 Idempotency-Key 的请求正在进行：请重新发送"
    ),
    "this was done before, and {what} was shown then, once; revoke it and ask again with another Idempotency-Key": (
        "此前已完成，{what}当时仅显示一次；请吊销后换用其他 Idempotency-Key 重试"
    ),
    "this process delivers no webhooks: it has no webhook.key": "此进程不投递 webhook：它没有 webhook.key",
    "the list of the results is not in the installation's store": "结果清单不在本系统的存储中",
    "the gateway of the job's node cannot be reached; the job goes on": "无法连到作业所在节点的网关；作业继续运行",
    "jobs that are accepted": "会被接受的作业",
    "objects sent before": "此前已发送的对象",
    "the hash of a manifest that was sent before": "此前已发送的清单的哈希",
    "the hash of a manifest": "清单的哈希",
    "whole objects": "完整的对象",
    "a rank of the job, {number} to {most}": "作业的 rank，{number} 到 {most}",
    'ETags, such as "3", or *': 'ETag，例如 "3"，或 *',
    "the number of an event": "事件的编号",
    "bytes=N- with N at most {most}": "bytes=N-，N 不超过 {most}",
    "the name of a kind of terminal": "终端类型的名称",
    "a JSON object": "JSON 对象",
    "finished or size": "finished 或 size",
    "{number} to {most} bytes": "{number} 到 {most} 字节",
}
