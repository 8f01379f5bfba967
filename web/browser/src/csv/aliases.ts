/**
 * Names of columns in the languages and notations in which data vendors write them, in the form of `normalizeLabel`.
 *
 * A copy of Python's `kronos.candles.aliases`; a test compares the two. The earlier name of a meaning wins.
 */

import type { Column } from "../candles";

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** Of times; `datetime` columns come before dates, and dates before times of day. */
export const TIME_ALIASES = words(`
  timestamps timestamp datetime opentime ds tradetime candlebegintime bartime gmttime localtime unixtime unix epoch
  ts dateandtime starttime begintime periodstart t 时间 日期时间 交易时间 時間 日期時間 日時 일시 датаивремя datumzeit datumuhrzeit date
  tradedate tradingday tradingdate day dtyyyymmdd yyyymmdd month 日期 交易日期 交易日 年月日 日付 年月 日付け 날짜 일자 거래일 거래일자 datum tag
  handelstag fecha data giorno дата день time zeit hora heure ora время unnamed:0 indexlevel0 index week quarter
  year woche jahr año semana année 年 週 tarih tanggal
`);

/** Of the six columns of a candle. */
export const COLUMN_ALIASES: Readonly<Record<Column, readonly string[]>> = {
  open: words(`
    open o openprice priceopen op opening openingprice first firstprice bidopen openbid 开盘 开盘价 今开 開盤 開盤價 开 始値 始値円 시가
    시작가 eröffnung eroeffnung eröffnungskurs eroeffnungskurs erster anfang anfangskurs ouverture ouv premier apertura
    abertura открытие цоткр откр ценаоткрытия eröffn eroeffn 開市 開市價 otwarcie açılış pembukaan
  `),
  high: words(`
    high h highprice pricehigh hi max maximum highest bidhigh highbid 最高 最高价 最高價 高 高値 고가 최고가 hoch höchst hoechst
    höchstkurs hoechstkurs tageshoch höchster haut plushaut máximo maximo máx massimo máxima alto максимум макс
    ценамакс максцена najwyższy najwyzszy yüksek tertinggi
  `),
  low: words(`
    low l lowprice pricelow lo min minimum lowest bidlow lowbid 最低 最低价 最低價 低 安値 저가 최저가 tief tiefst tiefstkurs
    tagestief niedrigster bas plusbas mínimo minimo mín mínima minima bajo baixo минимум мин ценамин минцена
    najniższy najnizszy düşük terendah
  `),
  close: words(`
    close c closeprice priceclose closelast cl closing closingprice last lastprice bidclose closebid 收盘 收盘价 收盤 收盤價 收
    終値 종가 schluss schluß schlusskurs schlußkurs letzter kurs clôture cloture clôt dernier cierre último ultimo
    chiusura fechamento закрытие цзакр закр ценазакрытия price zuletzt clot 收市 收市價 zamknięcie zamkniecie цена
    kapanış şimdi penutupan terakhir
  `),
  volume: words(`
    stück stueck stücke stuecke quantidade cantidad quantità nombredetitres noofshares numberofshares
    totaltradedquantity volume vol v volumetraded basevolume volumebase tradedvolume tradevolume totalvolume
    sharevolume shares tickvolume tickvol quantity qty 成交量 总手 總手 成交股数 成交股數 出来高 거래량 volumen umsatzstück
    gehandeltestück volumes titres volumi объем объём обьем 交易量 売買高 wolumen hacim hac
  `),
  amount: words(`
    amount amt turnover quotevolume quoteassetvolume volumequote money value totalturnover dollarvolume tradedvalue
    turnovervalue 成交额 成交額 成交金额 成交金額 volccyquote 金额 金額 売買代金 거래대금 umsatz capitaux efectivo controvalore оборот volumen
    volume volumi
  `),
};

/** Of dates beside a column of times of day. */
export const DATE_ALIASES = words(`
  date tradedate tradingday tradingdate day dtyyyymmdd yyyymmdd 日期 交易日期 交易日 日付 날짜 일자 datum tag fecha data дата
`);

/** Of times of day. */
export const CLOCK_ALIASES = words(`
  time tradetime clock hour hhmmss 时间 交易时间 時間 時刻 시간 시각 zeit uhrzeit hora heure ora время
`);

/** Of tick counts. */
export const TICK_ALIASES = words(`
  tickvolume tickvol
`);

/** Of columns that name the instrument. */
export const SYMBOL_ALIASES = words(`
  uniqueid symbol ticker code tscode instrument 代码 股票代码 证券代码 代碼 股票代碼 銘柄 銘柄コード 종목코드 isin тикер
`);

/** Of columns that name the instrument if their values tell rows of the same time apart. */
export const NAME_ALIASES = words(`
  name stock stockname company companyname asset pair coin crypto security secid scrip contract market commodity
  currency exchange 名称 股票名称 证券名称 銘柄名 종목명
`);

/** Of columns that are 0 or false while a candle is still forming. */
export const FLAG_ALIASES = words(`
  confirm confirmed isconfirmed closed isclosed windowclose windowclosed complete iscomplete completed final isfinal
`);

/** Units of a second volume that make it an amount. */
export const QUOTE_UNITS = words(`
  currency quote usd usdt usdc busd eur cny 元 krw jpy 円 원 $ €
`);

/** Names that resemble that of a volume. */
export const NEAR_VOLUME = /vol|qty|quantity|shares|成交量|成交股|手数|出来高|거래량|объ[её]м|st[uü]ck/i;
/** Names that resemble that of an amount. */
export const NEAR_AMOUNT = /amount|turnover|quote.?vol|notional|成交[额額金]|代金|거래대금|umsatz|оборот/i;

/** Names in languages that are written with a decimal comma. */
export const COMMA_LOCALES =
  /er(ö|oe)ffnung|schlu|h(ö|oe)chst|tief|ouverture|cl[oô]ture|apertura|cierre|abertura|fechamento|chiusura|открыт|закрыт|datum|fecha|дата/i;
