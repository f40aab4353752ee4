//! The words: what is sensitive, and what stands around it.
//!
//! Keys are written without spaces; umlauts as two letters, other accents left
//! out.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::mask::class::Class;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Is(Class),
    /// Only with a person before it, or in a table of persons.
    OfPerson(Class),
    /// India's tax number, or a card's: the table tells.
    Pan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Makes a key mean something about it, not the thing itself.
    Turn,
    TurnBefore,
    TurnAfter,
    /// A kind of person.
    Person,
    /// What isn't a person: its numbers and names are nobody's.
    Thing,
    /// Says nothing, but may be run together with others.
    Filler,
}

pub(super) fn key(word: &str) -> Option<Key> {
    if let Some(key) = KEYS.get(word) {
        return Some(*key);
    }
    // Plurals.
    if let Some(key) = word.strip_suffix('s').and_then(|one| KEYS.get(one)) {
        return Some(*key);
    }
    // Writing without spaces: a key may stand within.
    if !word.is_ascii() {
        return WITHIN
            .iter()
            .find(|(part, _)| word.contains(part))
            .map(|(_, class)| Key::Is(*class));
    }
    None
}

pub(super) fn word(word: &str) -> Option<Word> {
    WORDS.get(word).copied()
}

/// Cuts a word that was run together, where all its parts are known.
pub(super) fn segment(text: &str) -> Option<Vec<&str>> {
    const SHORTEST: usize = 6;
    const LONGEST: usize = 48;
    let known = |part: &str| KEYS.contains_key(part) || WORDS.contains_key(part);
    if !(SHORTEST..=LONGEST).contains(&text.len()) || !text.is_ascii() || known(text) {
        return None;
    }
    // The fewest parts that make up the first so many signs.
    let mut best: Vec<Option<(usize, usize)>> = vec![None; text.len() + 1];
    if let Some(first) = best.first_mut() {
        *first = Some((0, 0));
    }
    for end in 1..=text.len() {
        for start in 0..end {
            let Some((parts, _)) = best.get(start).copied().flatten() else { continue };
            // Short words are found everywhere.
            if end - start < 2 || !text.get(start..end).is_some_and(known) {
                continue;
            }
            let better =
                best.get(end).copied().flatten().is_none_or(|(least, _)| parts + 1 < least);
            if better && let Some(place) = best.get_mut(end) {
                *place = Some((parts + 1, start));
            }
        }
    }
    let (count, _) = best.last().copied().flatten()?;
    if count > 5 {
        return None;
    }
    let mut parts = Vec::new();
    let mut end = text.len();
    while end > 0 {
        let (_, start) = best.get(end).copied().flatten()?;
        let part = text.get(start..end)?;
        // A whole of scraps is chance.
        if part.len() < 3 && count > 2 {
            return None;
        }
        parts.push(part);
        end = start;
    }
    parts.reverse();
    Some(parts)
}

static KEYS: LazyLock<HashMap<&'static str, Key>> = LazyLock::new(|| {
    let of = |list: &'static [(Class, &'static str)], make: fn(Class) -> Key| {
        list.iter().flat_map(move |(class, words)| {
            words.split_whitespace().map(move |word| (word, make(*class)))
        })
    };
    of(SENSITIVE, Key::Is)
        .chain(of(OF_PERSONS, Key::OfPerson))
        .chain([("pan", Key::Pan), ("panno", Key::Pan), ("pannumber", Key::Pan)])
        .collect()
});

static WORDS: LazyLock<HashMap<&'static str, Word>> = LazyLock::new(|| {
    [
        (Word::Filler, FILLERS),
        (Word::Thing, THINGS),
        (Word::Person, PERSONS),
        (Word::TurnBefore, TURNS_BEFORE),
        (Word::TurnAfter, TURNS_AFTER),
        (Word::Turn, TURNS),
    ]
    .into_iter()
    .flat_map(|(word, list)| list.split_whitespace().map(move |text| (text, word)))
    .collect()
});

const SENSITIVE: &[(Class, &str)] = &[
    (
        Class::Email,
        "email emailaddress emailaddr mail mailaddress mailaddr courriel adressemail \
        correo correoelectronico emailadresse mailadresse epost epostadress eposta sahkoposti \
        postaelettronica emailid usermail poczta emailadres replyto mailfrom rcptto",
    ),
    (
        Class::Phone,
        "phone phonenumber phoneno phonenum telephone telephonenumber telephoneno tel telno \
        telefon telefonnummer telefonnr telefono numerotelefono telefone mobile mobilenumber \
        mobileno mobilephone mobiltelefon mobil mobilnummer cell cellphone cellnumber fax faxnumber \
        faxno telefax handy handynummer rufnummer celular numerocelular movil cellulare gsm \
        puhelin puhelinnumero whatsapp whatsappnumber msisdn telefoonnummer telefoon mobiel \
        numtel numerodetelephone numerotelephone nrtelefonu komorka telefonnumer tlf tlfnr cepno \
        telefonnumarasi contactnumber contactno shouji dianhua denwa landline sms smsnumber dialnumber callerid",
    ),
    (
        Class::PersonName,
        "firstname lastname middlename surname forename givenname familyname \
        fullname fname lname mname maidenname nickname preferredname legalname personname \
        vorname nachname familienname geburtsname prenom nomdefamille nomcomplet nombrecompleto \
        primerapellido segundoapellido apellido apellidos primernombre cognome nomecompleto \
        sobrenome primeironome ultimonome voornaam achternaam imie nazwisko imieinazwisko \
        foernamn efternamn fornavn etternavn etunimi sukunimi soyad soyadi adsoyad \
        nameoncard cardholder cardholdername accountholder accountholdername nextofkin \
        emergencycontact emergencycontactname beneficiaryname signatory signedby givennames \
        xingming namae shimei mothersmaidenname mothername fathername spousename vollername",
    ),
    (
        Class::PostalAddress,
        "address addr postaladdress streetaddress addressline addressline1 \
        addressline2 address1 address2 addr1 addr2 street streetname streetaddress1 streetaddress2 \
        homeaddress mailingaddress shippingaddress billingaddress deliveryaddress shipto billto \
        anschrift adresse strasse strassehausnummer hausnummer adressepostale rue numerorue \
        direccion domicilio calle indirizzo residenza endereco logradouro morada \
        adres straat straatnaam huisnummer ulica gata gatuadress gateadresse katuosoite osoite \
        adresi houseno housenumber shipaddress billaddress dizhi juusho permanentaddress residentialaddress \
        shipstreet billstreet wohnort",
    ),
    (
        Class::BirthDate,
        "dob dateofbirth birthdate birthday birthdt bdate bday birthyear yearofbirth \
        birth datebirth dtbirth born bornon \
        geburtsdatum gebdatum gebdat geburtstag geburtsjahr datedenaissance datenaissance naissance \
        fechanacimiento fechadenacimiento fecnac nacimiento datanascita datadinascita datanascimento \
        datadenascimento dtnascimento geboortedatum gebdatum dataurodzenia foedelsedatum \
        foedselsdato foedselsdag syntymaaika syntymaeaika dogumtarihi chushengriqi seinengappi",
    ),
    (
        Class::UsSsn,
        "ssn socialsecurity socialsecuritynumber socialsecurityno socsec ssnno ssnnumber \
        ssnlast4 last4ssn taxssn socsecnum usssn",
    ),
    (Class::UsItin, "itin usitin individualtaxpayeridentificationnumber"),
    (
        Class::UkNino,
        "nino nationalinsurance nationalinsurancenumber nationalinsuranceno ninumber nino1 niin uknino insuranceni",
    ),
    (Class::UkNhs, "nhs nhsnumber nhsno nhsnum uknhs"),
    (
        Class::DeTaxId,
        "steuerid steueridnr steueridentifikationsnummer steuernummer steuernr idnrsteuer detaxid steueridnummer",
    ),
    (
        Class::FrNir,
        "nir frnir insee numeroinsee numinsee numerosecu numsecu securitesociale \
        numerosecuritesociale numerodesecuritesociale nosecu nss numerosecuritésociale",
    ),
    (Class::EsDni, "dni nie nif esdni dninie nifnie numerodni dnino documentonacional"),
    (Class::ItFiscalCode, "codicefiscale codfiscale codfisc itfiscalcode fiscalcode cfisc"),
    (Class::NlBsn, "bsn burgerservicenummer bsnnummer nlbsn sofinummer sofi bsnnr"),
    (Class::PlPesel, "pesel nrpesel numerpesel plpesel peselnumber"),
    (
        Class::BeNrn,
        "rijksregisternummer rijksregisternr registrenational numeroregistrenational niss insz \
        nationalregisternumber nrn benrn rrnummer",
    ),
    (
        Class::ChAhv,
        "ahv ahvnummer ahvnr ahvn13 avs numeroavs noavs chahv avsnummer navs sozialversicherungsnr",
    ),
    (Class::DkCpr, "cpr cprnr cprnummer dkcpr cprnumber cprno"),
    (Class::NoFnr, "fnr foedselsnummer foedselsnr nofnr fodselsnummer personnummerno"),
    (Class::FiHetu, "hetu henkiloetunnus henkilotunnus fihetu sotu"),
    (
        Class::SePersonnummer,
        "personnummer personnr sepersonnummer samordningsnummer pnummer persnr",
    ),
    (Class::BrCpf, "cpf nrcpf numerocpf cpfcliente brcpf numcpf cpfnumber"),
    (Class::BrCnpj, "cnpj nrcnpj numerocnpj brcnpj cpfcnpj numcnpj"),
    (Class::MxCurp, "curp mxcurp clavecurp"),
    (
        Class::InAadhaar,
        "aadhaar aadhar adhar adhaar aadhaarno aadhaarnumber aadharno aadharnumber inaadhaar uidai aadhaarnum",
    ),
    (Class::InPan, "pancard pancardno inpan panindia incometaxpan"),
    (Class::AuTfn, "tfn taxfilenumber taxfileno autfn tfnnumber"),
    (
        Class::AuMedicare,
        "medicare medicareno medicarenumber medicarecard medicarecardno aumedicare",
    ),
    (
        Class::CaSin,
        "sin socialinsurancenumber socialinsurance socialinsuranceno casin sinno sinnumber numeroassurancesociale",
    ),
    (Class::SgNric, "nric nricno nricfin nricnumber sgnric finno"),
    (Class::KrRrn, "rrn residentregistrationnumber jumin juminno juminnumber krrrn residentno"),
    (
        Class::CnId,
        "shenfenzheng shenfenzhenghao idcard idcardno idcardnumber cnid residentid residentidnumber sfz sfzh",
    ),
    (Class::ZaId, "zaid saidnumber saidno southafricanid said rsaid"),
    (
        Class::NationalId,
        "nationalid nationalidnumber nationalidno natid nationalidentifier identitynumber \
        identitycard identityno personalid personalidnumber govid governmentid citizenid civilid \
        personalausweis personalausweisnummer ausweisnummer ausweisnr cedula rut taxid taxidnumber \
        taxnumber taxno taxpayerid tin tinnumber sozialversicherungsnummer svnr svnummer \
        mynumber kojinbango idnumber personalcode isikukood rodnecislo cnp egn oib jmbg rfc \
        documentoidentidad carteidentite cni numerocni numeroidentidad identificationnumber tckimlik tckimlikno kimlikno",
    ),
    (
        Class::Passport,
        "passport passportno passportnumber passportnum passportid reisepass reisepassnummer \
        reisepassnr passeport numeropasseport nopasseport pasaporte numeropasaporte passaporto \
        numeropassaporto passaporte paspoort paspoortnummer paszport nrpaszportu passnummer passinumero pasaportno huzhao",
    ),
    (
        Class::DrivingLicence,
        "driverslicense driverslicence driverlicense driverlicence drivinglicense \
        drivinglicence driverlicenseno driverslicenseno driverslicensenumber driverlicensenumber \
        drivinglicenceno drivinglicencenumber drivinglicensenumber drivinglicenseno dlno dlnumber dlnum \
        fuehrerschein fuehrerscheinnummer fuehrerscheinnr permisconduire permisdeconduire numeropermis \
        carnetconducir carnetdeconducir licenciaconducir patenteguida patente rijbewijs \
        rijbewijsnummer prawojazdy cnh koerkort foererkort ajokortti ehliyet licensenumber licenceno dl",
    ),
    (
        Class::CreditCard,
        "creditcard creditcardno creditcardnumber creditcardnum cardnumber cardno \
        cardnum cardpan ccnumber ccnum ccno cc debitcard debitcardnumber kreditkarte \
        kreditkartennummer kreditkartennr kartennummer kartennr cartebancaire numerocarte cartecredit \
        tarjeta numerotarjeta tarjetacredito numerodetarjeta cartadicredito numerocarta cartao \
        numerocartao cartaocredito creditcardnummer kaartnummer numerkarty kortnummer korttinumero \
        kartno kredikartno paymentcard primaryaccountnumber amex visacard",
    ),
    (
        Class::CardVerification,
        "cvv cvc cvv2 cvc2 csc cardcvv cardcvc cvvcode cvccode cardsecuritycode \
        cardverification pruefziffer kartenpruefnummer pinblock cardpin cccvv cccvc",
    ),
    (Class::Iban, "iban ibannumber ibanno ibannr bankiban ibancode"),
    (
        Class::BankAccount,
        "bankaccount bankaccountnumber bankaccountno bankaccno accountnumber acctnumber \
        acctno acctnum accountno accno bban kontonummer kontonr bankkonto numerocuenta \
        cuentabancaria numerodecuenta comptebancaire numerocompte rib contocorrente numeroconto \
        contabancaria numeroconta rekeningnummer bankrekening numerkonta nrkonta bankkontonummer \
        tilinumero hesapno bankacct clabe bankacctno acnumber",
    ),
    (
        Class::RoutingNumber,
        "routingnumber routingno routing aba abarouting abanumber rtn sortcode bankcode \
        blz bankleitzahl bsb bsbnumber ifsc ifsccode transitnumber routingtransit",
    ),
    (
        Class::IpAddress,
        "ip ipaddress ipaddr ipv4 ipv6 ipv4address ipv6address clientip remoteip \
        remoteaddr remoteaddress clientaddr clientaddress sourceip srcip destip dstip loginip lastip \
        lastloginip currentsigninip lastsigninip hostip userip peerip originip ipadresse adresseip \
        direccionip indirizzoip enderecoip xforwardedfor forwardedfor signupip registrationip createdip visitorip",
    ),
    (
        Class::MacAddress,
        "mac macaddress macaddr hwaddr hwaddress hardwareaddress ethernetaddress wifimac \
        bluetoothmac macadresse adressemac devicemac",
    ),
    (
        Class::GeoPosition,
        "latitude longitude lat lng lon latlng latlon latlong lonlat geo geolocation \
        geoposition geopoint gps gpscoordinates gpsposition coordinates coordinate coords latitud longitud \
        breitengrad laengengrad latitudine longitudine breedtegraad lengtegraad homelat homelng \
        homelon geocode gpslat gpslon gpslng position geom geog koordinaten szerokosc dlugosc",
    ),
    (
        Class::Diagnosis,
        "diagnosis diagnoses diagnosiscode icd icd10 icd10code icd9 icdcode icd11 \
        diagnose diagnosen diagnostico diagnosi diagnostic diagnoza allergy allergies allergie \
        allergien alergias medication medications prescription medicamento bloodtype bloodgroup \
        blutgruppe medicalhistory medicalcondition medicalconditions healthcondition healthstatus \
        symptoms symptom disability disabilities hivstatus pregnancy labresult chronicconditions \
        mentalhealth treatment krankheit vorerkrankungen maladie enfermedad malattia clinicalnotes",
    ),
    (
        Class::MedicalRecord,
        "mrn medicalrecord medicalrecordnumber medicalrecordno medrecno patientnumber \
        patientno healthinsurancenumber healthinsuranceno healthcardnumber healthid insurancenumber \
        krankenversicherungsnummer versichertennummer versicherungsnummer kvnr patientennummer \
        insurancememberid memberid policyholderid healthplanid ehic chartnumber hospitalnumber mutuelle",
    ),
    (Class::Npi, "npi npinumber npino nationalprovideridentifier providernpi"),
    (
        Class::SpecialCategory,
        "religion religious faith confession konfession ethnicity ethnic race \
        ethnicgroup raceethnicity sexualorientation orientation politicalaffiliation politicalparty politicalviews \
        unionmembership tradeunion sexlife genderidentity religione religiao ethnie herkunft \
        opinionspolitiques criminalrecord convictions religioon etnia",
    ),
    (
        Class::Username,
        "username userlogin login loginname loginid screenname benutzername nutzername \
        nomutilisateur nomdutilisateur nombreusuario nombredeusuario nomeutente nomeusuario \
        gebruikersnaam anvaendarnamn brukernavn kaeyttaejaetunnus kullaniciadi uname userid1 twitterhandle \
        githubusername instagramhandle skypeid telegramusername yonghuming samaccountname uid1",
    ),
    (
        Class::Password,
        "password passwd pwd pass passphrase userpassword passwort kennwort motdepasse mdp \
        contrasena contrasenya clave senha palavrapasse wachtwoord haslo loesenord salasana sifre parola passcode \
        pin pinnumber otp otpcode onetimepassword securityanswer secretanswer tempassword \
        recoverycode backupcodes mima securityquestionanswer passwordplain plainpassword mfacode",
    ),
    (
        Class::PasswordHash,
        "passwordhash passwordsalt passwordcrypt pwdhash pwhash passhash hashedpassword \
        encryptedpassword cryptedpassword passworddigest userpasshash userpass rolpassword \
        passwordencrypted passworthash pwsalt hashpassword pwdsalt",
    ),
    (
        Class::ApiKey,
        "apikey apisecret apitoken secret secretkey secretaccesskey accesskey accesskeyid \
        accesstoken refreshtoken authtoken authkey token sessiontoken sessionkey sessionid sessid \
        clientsecret webhooksecret signingkey signingsecret encryptionkey bearertoken bearer \
        privatetoken personalaccesstoken pat1 otpsecret totpsecret mfasecret credentials credential \
        authorizationcode verificationtoken resettoken passwordresettoken confirmationtoken \
        rememberToken remembertoken pushtoken devicetoken oauthtoken oauthsecret apikeyhash \
        awssecret awsaccesskey awssecretkey stripekey stripesecret slacktoken githubtoken openaikey \
        serviceaccountkey masterkey hmackey hmacsecret sharedsecret consumersecret consumerkey \
        csrftoken jti1 sessiondata invitetoken magiclink activationkey licensekey cookie cookies",
    ),
    (Class::Jwt, "jwt jwttoken idtoken jsonwebtoken jws"),
    (
        Class::PrivateKey,
        "privatekey privkey sshkey sshprivatekey pemkey keypem rsakey rsaprivatekey \
        privatepem tlskey sslkey pgpkey gpgkey seedphrase mnemonic walletseed recoveryphrase signingprivatekey",
    ),
    (
        Class::ConnectionString,
        "connectionstring connstring connstr connectionurl connectionuri dsn \
        databaseurl dburl databaseuri dburi jdbcurl mongouri mongodburi redisurl amqpurl sqlalchemyurl \
        subconninfo conninfo brokerurl",
    ),
];

/// Keys that mean a person only beside one.
const OF_PERSONS: &[(Class, &str)] = &[
    (
        Class::PersonName,
        "name names nom nombre nome naam nazwa namn navn nimi ad isim displayname \
        initials namee title1 firstandlast altname alias",
    ),
    (Class::NationalId, "idno idnr documentnumber documentno"),
    (Class::GeoPosition, "location"),
];

const TURNS: &str = "count counts cnt total totals sum avg average max min verified unverified confirmed \
    confirmation valid validated validation sent opened clicked bounced bounce status state type \
    types kind flag enabled disabled required template templates subject body content format provider \
    domain length len size limit policy attempts attempt expiry expires expired expiration expire \
    changed updated created modified deleted reset version index idx label labels optin optout opt \
    preference preferences pref notification notifications frequency campaign campaigns rate \
    ratio score percent pct regex pattern mask masked setting settings config enum category \
    categories consent consented subscribed unsubscribed anonymized queue job jobs server host port \
    protocol hint strength group groups level schema method mode ttl color colour icon image url \
    uri link path file filename folder directory mime mimetype extension budget usage used \
    provided visible hidden allowed blocked banned present exists missing anzahl nombrede numero1 \
    limitreached algorithm algo rounds iterations retries failures failed fails locked device1 vendor \
    brand model manufacturer distance accuracy precision radius range unit units timezone tz zone \
    published priority rank sort ordering hits visits";

const TURNS_BEFORE: &str = "is has num numof numberof can should allow allows needs requires show hide send \
    receive use uses with without no1 web site contract wallet memory bit smart max min avg total \
    error success event1 product";

const TURNS_AFTER: &str = "id ids at on date dates time times timestamp by ts datum seconds minutes hours days \
    ref fk guid uuid since until amount value1 city1 country currency locale lang language domainid";

const PERSONS: &str = "user customer client person people employee staff patient contact member student \
    teacher author owner holder applicant candidate tenant1 resident guest visitor driver passenger \
    doctor physician nurse lawyer agent1 buyer seller recipient sender payer payee beneficiary \
    subscriber participant attendee donor guardian parent mother father child spouse relative \
    manager supervisor colleague worker citizen voter insured policyholder borrower lender debtor \
    creditor cardholder accountholder profile consumer shopper purchaser referrer individual \
    emergency billing shipping delivery kunde kunden mitarbeiter benutzer nutzer personen \
    ansprechpartner patienten schueler lehrer mieter versicherter personne utilisateur cliente \
    clientes salarie employe adherent abonne usuario usuarios empleado empleados paciente pacientes \
    alumno persona personas contacto dipendente utente utenti paziente dipendenti pazienti \
    funcionario funcionarios pessoa pessoas klant klanten medewerker gebruiker gebruikers patient1 \
    klient klienci pracownik pracownicy uzytkownik osoba kund kunder anstaelld medarbetare ansatt \
    bruker asiakas asiakkaat tyontekija musteri calisan kullanici hasta lead leads prospect prospects \
    crm hr payroll persons employees users customers members students patients contacts clients \
    subscribers accounts1 passengers guests applicants candidates";

const THINGS: &str = "order orders invoice invoices product products item items sku article articles \
    tracking shipment parcel package batch lot serial uuid guid hash checksum md5 sha sha1 sha256 \
    etag version revision build commit release timestamp epoch created updated company \
    organization organisation org vendor supplier brand category tag tags country city region state \
    event events table column file filename folder host hostname server domain service project \
    task ticket issue campaign plan role permission group department dept team unit job queue topic \
    channel bucket index database schema field attribute property setting feature module plugin \
    theme template page menu button image video song album movie book1 store shop warehouse \
    location1 room building station route vehicle car device sensor machine model currency bank \
    language locale timezone status type code barcode isbn ean gtin upc asin quantity price amount \
    weight height reference ref transaction txn receipt voucher coupon po request response \
    trace span correlation session1 bestellung bestellnummer rechnung rechnungsnummer artikel \
    artikelnummer auftrag commande facture produit pedido factura producto ordine fattura prodotto \
    firma entreprise societe empresa azienda dataset experiment run step epochs";

const FILLERS: &str = "my primary secondary main home work office private business personal business \
    other second first last middle full given family alternate alternative alt backup recovery \
    current old new previous former default public original raw clean normalized number no nr num \
    nummer numero text value line code the of de del di da do du des van von the user usr cust emp \
    pat mem acct account a b c sec prim tel1 national international intl local customer1 bill ship \
    pay key data info detail details txt str col fld field attr encrypted hashed digest salt crypt \
    crypted bcrypt hash and or in for mobil1 test tmp";

/// In writing without spaces.
const WITHIN: &[(&str, Class)] = &[
    ("邮箱", Class::Email),
    ("邮件", Class::Email),
    ("メール", Class::Email),
    ("이메일", Class::Email),
    ("почта", Class::Email),
    ("手机", Class::Phone),
    ("电话", Class::Phone),
    ("電話", Class::Phone),
    ("전화", Class::Phone),
    ("휴대폰", Class::Phone),
    ("телефон", Class::Phone),
    ("τηλεφωνο", Class::Phone),
    ("姓名", Class::PersonName),
    ("氏名", Class::PersonName),
    ("名前", Class::PersonName),
    ("이름", Class::PersonName),
    ("성명", Class::PersonName),
    ("фамилия", Class::PersonName),
    ("фио", Class::PersonName),
    ("имя", Class::PersonName),
    ("отчество", Class::PersonName),
    ("επωνυμο", Class::PersonName),
    ("地址", Class::PostalAddress),
    ("住所", Class::PostalAddress),
    ("주소", Class::PostalAddress),
    ("адрес", Class::PostalAddress),
    ("улица", Class::PostalAddress),
    ("出生", Class::BirthDate),
    ("生日", Class::BirthDate),
    ("生年月日", Class::BirthDate),
    ("생년월일", Class::BirthDate),
    ("рождения", Class::BirthDate),
    ("身份证", Class::CnId),
    ("주민등록", Class::KrRrn),
    ("護照", Class::Passport),
    ("护照", Class::Passport),
    ("여권", Class::Passport),
    ("паспорт", Class::Passport),
    ("снилс", Class::NationalId),
    ("инн", Class::NationalId),
    ("密码", Class::Password),
    ("パスワード", Class::Password),
    ("비밀번호", Class::Password),
    ("пароль", Class::Password),
    ("银行卡", Class::CreditCard),
    ("信用卡", Class::CreditCard),
    ("银行账号", Class::BankAccount),
    ("用户名", Class::Username),
];
