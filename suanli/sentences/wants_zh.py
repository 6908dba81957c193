"""Chinese for what a field of a job, a batch or a configuration should have held, where it is said but once."""

ZH_WANTS = {
    "a name that one job of the batch has ({number} have it), or an id": (
        "本批次中只有一个作业使用的名称（现有 {number} 个），或标识"
    ),
    "a job of the batch that was refused": "本批次中被拒绝的作业",
    "the id of a job or array of this firm, or the name of a job of this batch": (
        "本企业某个作业或数组的标识，或本批次中作业的名称"
    ),
    "name of a firm": "企业的名称",
    "name of a project": "项目的名称",
    "the name of a firm": "企业的名称",
    "nothing: {role}s belong to no firm": "空值：{role}不属于任何企业",
    "nothing: {role}s are not kept to projects": "空值：{role}不限于某些项目",
    "name of a node: 1 to 253 of A-Z a-z 0-9 . _ -": "节点的名称：1 到 253 个 A-Z a-z 0-9 . _ -",
    "name of a {kind}: {want}": "{kind}的名称：{want}",
    "1 to 256 characters on one line": "一行之内的 1 到 256 个字符",
    "at most 256 characters on one line": "一行之内最多 256 个字符",
    "name of a cohort": "队列组的名称",
    "name of another cohort": "另一个队列组的名称",
    "which text the rule is in": "规则所在的文件",
    "name of a secret of the project that holds the store's keys": "本项目中存有存储密钥的密钥名称",
    "nothing: an operator gives folders of the hosts names (suanli pools lists them), and a job a name": (
        "空值：主机上的文件夹由运营方命名（suanli pools 列出它们），作业只写名称"
    ),
    "a path below {folder}, such as {example}": "{folder} 之下的路径，例如 {example}",
    "name of an object store of the pool": "资源池中对象存储的名称",
    "https://host or https://host:port of an S3-compatible store (http without TLS), and no path": (
        "兼容 S3 的存储的 https://host 或 https://host:port（无 TLS 则为 http），不含路径"
    ),
    "a digest: suanli submit uploads a local folder and puts its digest here": (
        "摘要：suanli submit 上传本地文件夹，并把其摘要写在此处"
    ),
    "a path that is not that of another volume, nor above or below it": "不与其他卷的路径相同，也不在其上或其下的路径",
    "no braces but those of {names}; {place} in an array alone": "除 {names} 外不得有花括号；{place} 只用于数组",
    "name of a secret of the project": "本项目中密钥的名称",
    "name of a variable": "变量的名称",
    "{name} or {other} in it, or the jobs of the array overwrite each other's outputs": (
        "其中须有 {name} 或 {other}，否则数组的作业会互相覆盖输出"
    ),
    "such as cn-north-4": "例如 cn-north-4",
    "sha256: and 64 hex digits": "sha256：加 64 个十六进制数字",
    "the issuer's URL, as its tokens say it in `iss`": "签发者的 URL，与其令牌的 `iss` 一致",
    "at least one issuer": "至少一个签发者",
    "an https URL (http on loopback only)": "https URL（http 仅限回环地址）",
    "for whom its tokens are: text, or a list": "其令牌的受众：文本或列表",
    "at least one rule: nobody is let in without": "至少一条规则：没有规则则无人可登录",
    "an object: claim -> the value that it must have, or hold in its list": (
        "对象：声明（claim）-> 它必须等于、或其列表中必须含有的值"
    ),
    "name of a claim": "声明（claim）的名称",
    "the name of a claim": "声明（claim）的名称",
    "id of a public client": "公共客户端的标识",
    "path of a file with certificates": "证书文件的路径",
    "text, or a list of texts": "文本，或文本的列表",
    "text, a whole number, true or false": "文本、整数、true 或 false",
    "s3://bucket/key or s3://bucket/prefix, the bucket of 3 to 63 of a-z 0-9 . -": (
        "s3://bucket/key 或 s3://bucket/prefix，bucket 为 3 到 63 个 a-z 0-9 . -"
    ),
    "{number}: each task of the gang has a part of one device": "{number}：任务组中每个任务占一台设备的一部分",
    "name of a container image": "容器镜像的名称",
    "name of a secret": "密钥的名称",
    "text to be found in a line; * stands for anything": "要在一行中找到的文本；* 代表任意内容",
    "1 to {number} characters, not * alone": "1 到 {number} 个字符，不能只有 *",
    "an https URL": "https URL",
    "leaf, supernode or zone: each of the gang's {number} tasks has a node of its own": (
        "leaf、supernode 或 zone：任务组的 {number} 个任务各在一个节点上"
    ),
    "at most {number} printable characters": "最多 {number} 个可打印字符",
    "name of a queue": "队列的名称",
    "key of a vendor": "厂商的键",
    "1 to 100 of a-z 0-9 - . _ @, no sign at the ends": "1 到 100 个 a-z 0-9 - . _ @，首尾不能是符号",
    "a nominal quota of {model} beside it: nothing can be lent of what is not there": (
        "旁边须有 {model} 的额定配额：没有的无法借出"
    ),
    "a nominal quota of {model} somewhere in its tree: without one {same} has no limit": (
        "其配额树中某处须有 {model} 的额定配额：没有则 {same} 不受限制"
    ),
    "nothing, or a {kind}: where there is no {same}, nobody borrows and nobody lends": (
        "空值，或 {kind}：没有 {same} 就不能借入，也不能借出"
    ),
    "at most {number}: the others of its tree have no more to lend": "最多 {number}：其配额树中的其他成员再无可借出",
    "{want}, with at most {number} decimal places": "{want}，最多 {number} 位小数",
    "a decimal number like 12.50": "小数，例如 12.50",
    'a decimal number in quotes, like "12.50"': '带引号的小数，例如 "12.50"',
    "{want} ({low} to {high})": "{want}（{low} 到 {high}）",
    "at most {number} entries": "最多 {number} 项",
    "names that match {pattern}": "匹配 {pattern} 的名称",
    "No such file or directory": "没有这个文件或目录",
    "Permission denied": "没有权限",
    "Is a directory": "是目录",
    "File name too long": "文件名过长",
    "File exists": "文件已存在",
    "Not a directory": "不是目录",
    # What a configuration may not say of what there is
    "a cohort that is not below it: {circle} is a circle": "不在其下的队列组：{circle} 成环",
    "a cohort further up: {name} would be on level {number}, and a tree has {most} at most": (
        "更靠上的队列组：{name} 会在第 {number} 层，而一棵树最多 {most} 层"
    ),
    "a cohort of this file or one that exists": "此文件中的或已有的队列组",
    "at most {number}, its nominal quota": "最多 {number}，即其额定配额",
    "at most {number}, as its pools have no more (nodes may come later)": (
        "最多 {number}，因为其资源池中没有更多（节点可以以后再加）"
    ),
    "a time after now ({moment})": "晚于现在（{moment}）的时间",
    "a time from now on ({moment})": "不早于现在（{moment}）的时间",
    "a time from now on ({moment}): the {kind} in force does not change": (
        "不早于现在（{moment}）的时间：生效中的{kind}不会更改"
    ),
    "{moment}: it has begun": "{moment}：它已开始",
    "nodes or times that {name} has not reserved": "{name} 未预留的节点或时间",
    "{price}, as published; a price changes by a new version with a later effective_from": (
        "已公布的 {price}；价格须以 effective_from 更晚的新版本更改"
    ),
    "{rule}, as published; a program changes by a new version": "已公布的 {rule}；补贴方案须以新版本更改",
    "more than {number}, the newest version": "大于最新版本 {number}",
    "{role}: who somebody is never changes; make another user": "{role}：一个人的身份不会更改；请另建用户",
    "no user id left": "没有剩余的用户号",
    "a wider range: all of SUANLI_FIRM_UIDS {range} are given": "更大的范围：SUANLI_FIRM_UIDS {range} 已全部分配",
    "text that UTF-8 can hold": "UTF-8 能表示的文本",
    "a class that some model of the catalogue fits, and no other variant (suanli models)": (
        "目录中有某个型号符合、且没有其他变体使用的类别（suanli models）"
    ),
    "nothing here: {feature} are not yet supported by pool {pool}": "此处空值：资源池 {pool} 尚不支持 {feature}",
    "true: {name} can only be read in pool {pool}": "true：{name} 在资源池 {pool} 中只读",
    "ppm alone: nobody published how much memory {model} has": "只写 ppm：没有公布过 {model} 的内存大小",
    "at most {memory}, the memory of {model}": "最多 {memory}，即 {model} 的内存",
    "at least {number}: a part has 1 MiB of memory or more": "至少 {number}：一份设备至少有 1 MiB 内存",
    "at most {number}: five minutes from now": "最多 {number}：现在起五分钟",
    # What an accepted job says, and can hardly mean
    "at most {number}, its time limit, at which it is stopped": "最多 {number}，即其时限：到时作业会被停止",
    "a time after {moment}, about when it most likely starts": "晚于 {moment} 的时间：作业最可能在那时前后启动",
    "a time after {moment}, about when it most likely ends, by its estimate": (
        "晚于 {moment} 的时间：按其预计时长，作业最可能在那时前后结束"
    ),
    # What in a job that could never start would let it
    "a queue that may use a pool": "可以使用某个资源池的队列",
    "{number}, as in the nearest possible gang": "{number}，与最接近且可行的规模一致",
    "{number} or less": "不超过 {number}",
    "groups that fit: {why}": "放得下的任务组：{why}",
    "a queue with a larger quota of {model}": "{model} 配额更大的队列",
    "nothing: {why}": "空值：{why}",
    # What the server is busy with
    "the body is larger than {number} bytes": "请求体超过 {number} 字节",
    "the database does not answer": "数据库没有应答",
    "this process is stopping": "此进程正在停止",
}
