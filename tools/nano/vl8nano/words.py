"""Text content of the labels: English and Chinese factory vocabulary and random codes."""
from .common import pick

EN = """Inspection Passed|Inspection Failed|Quality Control|Production Date|Batch Number|Serial Number|Max Load|Rated Voltage|
Rated Current|Do Not Open|High Voltage|Danger|Warning|Caution|Keep Dry|Fragile|This Side Up|Handle With Care|Made in Factory 3|
Model|Type|Power|Weight|Length|Torque|Pressure|Temperature|Humidity|Operator|Shift A|Line 2|Station 7|Check Oil Level|
Replace Filter|Emergency Stop|Start|Stop|Reset|Open|Closed|Left|Right|Front|Back|Input|Output|Ground|Motor|Pump|Valve|Sensor|
Spindle|Bearing|Gear Box|Screw M6|Bolt M8|Nut M10|Washer|Spring|Circuit Board|Control Panel|Fuse Box|Main Switch|Air Supply|
Water Inlet|Oil Outlet|Clean Room|No Smoking|Wear Gloves|Wear Helmet|Eye Protection|First Aid|Fire Exit|Lot|Part No.|Order|
Customer|Supplier|Date|Time|Name|Signed|Approved|Rejected|Rework|Scrap|Spare Part|Test Report|Tested OK|Speed|Cycle Time""".replace("\n", "").split("|")
ZH = """检验合格|检验不合格|质量控制|生产日期|生产批号|出厂编号|产品型号|额定电压|额定电流|额定功率|最大载荷|禁止打开|高压危险|注意安全|
小心触电|防潮防水|易碎物品|此面向上|轻拿轻放|工作温度|环境湿度|操作员|检验员|班组长|一号车间|二号产线|三号工位|检查油位|更换滤芯|紧急停止|
启动|停止|复位|打开|关闭|左侧|右侧|前面|后面|输入|输出|接地|电机|水泵|阀门|传感器|主轴|轴承|齿轮箱|螺丝|螺栓|螺母|垫圈|弹簧|电路板|控制面板|
配电箱|总开关|气源|进水口|出油口|洁净室|禁止吸烟|佩戴手套|佩戴安全帽|保护眼睛|急救箱|消防出口|零件号|订单号|客户|供应商|日期|时间|姓名|签字|
批准|拒收|返工|报废|备件|测试报告|测试合格|转速|节拍|合格证|保修期|制造商|中国制造|净重|毛重|长度|宽度|高度|压力|扭矩|材料|不锈钢|铝合金|
铜线|塑料|橡胶|玻璃|表面处理|热处理|焊接|装配|包装|运输|仓库|库存|数量|单价|金额|设备编号|维修记录|保养周期|润滑油|冷却液|液压站|空压机|
机器人|机械手|传送带|激光|相机|光源|缺陷|划痕|裂纹|毛刺|变形|漏装|错装|松动|缺失|正常|异常|报警|故障|运行|待机|手动|自动|上料|下料|加工|
检测|测量|公差|精度|图纸|工艺|标准|记录|审核|完成|未完成|入口|出口|请勿触摸|当心机械伤人|必须洗手|严禁烟火|安全生产|人人有责|质量第一|
客户至上|持续改进|红灯停|绿灯行|东门|西门|南门|北门|上海|北京|深圳|广州|苏州|天津|重庆|电话|地址|网址|编码|条码|规格|等级|颜色|黑色|白色|
红色|蓝色|绿色|黄色|年|月|日|时|分|秒|个|件|箱|台|套|米|克|千克|吨|升|度""".replace("\n", "").split("|")
HANZI = sorted({c for w in ZH for c in w} | set("甲乙丙丁戊一二三四五六七八九十周东南西北"))
UNITS = ["V", "A", "W", "kW", "kg", "mm", "MPa", "Nm", "Hz", "rpm", "L", "g"]
FIELDS = {"en": ["SN", "Model", "Date", "Batch", "Weight", "Voltage", "Power", "Line", "Order", "Type", "Lot", "Part No."],
          "zh": ["编号", "型号", "日期", "批号", "重量", "电压", "功率", "产线", "订单号", "规格", "数量", "零件号"]}
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
LATIN_CHARS = "".join(chr(c) for c in range(33, 127))
ALPHABET = LATIN_CHARS + "：，。、（）！？℃" + "".join(HANZI)
CHAR_ID = {c: i + 1 for i, c in enumerate(ALPHABET)}   # 0 is "no character"


def code(rng):
    """A serial-number-like string."""
    style = int(rng.integers(5))
    d = lambda n: "".join(str(int(rng.integers(10))) for _ in range(n))
    a = lambda n: "".join(pick(rng, LETTERS) for _ in range(n))
    if style == 0:
        return a(int(rng.integers(1, 4))) + d(int(rng.integers(2, 6)))
    if style == 1:
        return a(2) + "-" + d(int(rng.integers(3, 6)))
    if style == 2:
        return d(int(rng.integers(3, 9)))
    if style == 3:
        return a(1) + d(2) + "-" + a(1) + d(3)
    return a(int(rng.integers(2, 5))) + d(1) + "." + d(2)


def date(rng, lang):
    y, m, d = int(rng.integers(2018, 2031)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    if lang == "zh" and rng.random() < 0.5:
        return f"{y}年{m}月{d}日"
    return pick(rng, [f"{y}-{m:02d}-{d:02d}", f"{y}/{m:02d}/{d:02d}", f"{d:02d}.{m:02d}.{y}"])


def quantity(rng):
    n = int(rng.integers(1, 1000))
    return (f"{n}" if rng.random() < 0.6 else f"{n / 10:.1f}") + pick(rng, ["", " "]) + pick(rng, UNITS)


def value(rng, lang):
    return pick(rng, [code, code, lambda r: date(r, lang), quantity])(rng)


def line(rng, lang, longest):
    """One label line of at most longest character widths (a Chinese character counts two)."""
    while True:
        k = rng.random()
        if lang == "zh":
            if k < 0.45:
                s = pick(rng, ZH)
            elif k < 0.65:
                s = pick(rng, ZH) + pick(rng, ["：", ":", " "]) + value(rng, lang)
            elif k < 0.85:
                s = "".join(pick(rng, HANZI) for _ in range(int(rng.integers(2, 9))))
            else:
                s = value(rng, lang)
        elif k < 0.4:
            s = pick(rng, EN)
            s = s.upper() if rng.random() < 0.3 else s
        elif k < 0.7:
            s = pick(rng, EN) + pick(rng, [": ", " "]) + value(rng, lang)
        else:
            s = value(rng, lang)
        if sum(2 if ord(c) > 255 else 1 for c in s) <= longest:
            return s
